//! Which packages make a root: a choice among a graph's alternatives that fits together.

use resolvo::conflict::ConflictNode;
use resolvo::{
    Candidates, Condition, ConditionId, Dependencies, DependencyProvider, HintDependenciesAvailable,
    Interner, KnownDependencies, NameId, Problem, Requirement, SolvableId, Solver, SolverCache, StringId,
    UnsolvableOrCancelled, VersionSetId, VersionSetUnionId,
};

use super::universe::{Graph, Universe};
use super::{Error, explain};
use crate::base::Cancel;
use crate::fetch;

/// Chooses nodes: the first option of each need, unless it is there anyway or does not fit.
pub(super) fn solve(
    universe: &Universe<'_>,
    graph: &Graph<'_>,
    cancel: &Cancel,
) -> Result<Vec<usize>, fetch::Error> {
    let mut unions = Vec::new();
    let requirements = graph.nodes.iter().map(|node| {
        let needs = node.needs.iter().map(|(_, options)| match options.as_slice() {
            [] => None,
            [only] => Some(Requirement::Single(this(*only))),
            several => {
                unions.push(several.iter().map(|option| this(*option)).collect());
                Some(Requirement::Union(VersionSetUnionId(unions.len() as u32 - 1)))
            }
        });
        needs.collect()
    });
    let requirements = requirements.collect();
    let provider = Provider { graph, requirements, unions, cancel };
    let roots = graph.roots.iter().map(|root| Requirement::Single(this(*root)).into());
    let problem = Problem::new().requirements(roots.collect());
    let mut solver = Solver::new(provider);
    match solver.solve(problem) {
        Ok(chosen) => Ok(chosen.into_iter().map(|one| one.into_raw() as usize).collect()),
        Err(UnsolvableOrCancelled::Cancelled(_)) => Err(fetch::Error::Cancelled),
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => {
            let involved = conflict.graph(&solver).graph;
            let involved = involved.node_weights().filter_map(|node| match node {
                ConflictNode::Solvable(one) => Some(one.into_raw() as usize),
                _ => None,
            });
            let involved = involved.collect();
            let why = explain::explain(universe, graph, &involved);
            Err(Error::Unsatisfiable { arch: universe.arch, why }.into())
        }
    }
}

/// A graph as the solver sees it. Names and solvables are nodes; each name has one solvable. A version set is
/// "this node" (even) or "not this node" (odd), for what must be there and what must not.
struct Provider<'a> {
    graph: &'a Graph<'a>,
    /// By node. None where nothing would do.
    requirements: Vec<Option<Vec<Requirement>>>,
    unions: Vec<Vec<VersionSetId>>,
    cancel: &'a Cancel,
}

fn this(node: usize) -> VersionSetId {
    VersionSetId(node as u32 * 2)
}

fn not(node: usize) -> VersionSetId {
    VersionSetId(node as u32 * 2 + 1)
}

impl Provider<'_> {
    fn shown(&self, node: u32) -> String {
        explain::shown(self.graph, node as usize)
    }
}

impl Interner for Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl std::fmt::Display + '_ {
        self.shown(solvable.into_raw())
    }

    fn display_name(&self, name: NameId) -> impl std::fmt::Display + '_ {
        self.shown(name.into_raw())
    }

    fn display_version_set(&self, version_set: VersionSetId) -> impl std::fmt::Display + '_ {
        self.shown(version_set.0 / 2)
    }

    fn display_string(&self, _: StringId) -> impl std::fmt::Display + '_ {
        "it needs what nothing provides"
    }

    fn version_set_name(&self, version_set: VersionSetId) -> NameId {
        NameId::from_raw(version_set.0 / 2)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        NameId::from_raw(solvable.into_raw())
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.unions[union.0 as usize].iter().copied()
    }

    fn resolve_condition(&self, _: ConditionId) -> Condition {
        unreachable!("no requirement has a condition")
    }
}

impl DependencyProvider for Provider<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let fits = version_set.0.is_multiple_of(2) != inverse;
        candidates.iter().copied().filter(|_| fits).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        Some(Candidates {
            candidates: vec![SolvableId::from_raw(name.into_raw())],
            hint_dependencies_available: HintDependenciesAvailable::None,
            ..Candidates::default()
        })
    }

    /// Each name has one candidate.
    async fn sort_candidates(&self, _: &SolverCache<Self>, _: &mut [SolvableId]) {}

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        let node = solvable.into_raw() as usize;
        let Some(requirements) = &self.requirements[node] else { return Dependencies::Unknown(StringId(0)) };
        let refused = self.graph.nodes[node].refuses.iter().flat_map(|(_, nodes)| nodes);
        Dependencies::Known(KnownDependencies {
            requirements: requirements.iter().map(|one| (*one).into()).collect(),
            constrains: refused.map(|node| not(*node)).collect(),
        })
    }

    fn should_cancel_with_value(&self) -> Option<Box<dyn std::any::Any>> {
        self.cancel.is_cancelled().then(|| Box::new(()) as Box<dyn std::any::Any>)
    }
}
