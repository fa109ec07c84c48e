//! The steps that hold programs' calls of libraries against those libraries.

use super::step::{Calls, Label, Work};
use super::{Builder, StepId};
use crate::base::Name;
use crate::gate::abi;
use crate::recipe::{Id, Role};

impl Builder<'_> {
    /// Plans a look at each program of a runtime that opens libraries at run time.
    pub(super) fn calls(&mut self, runtime: &Name) -> Vec<StepId> {
        let locked = self.locked;
        let recipe = &locked.runtimes[runtime];
        if recipe.loads.is_empty() {
            return Vec::new();
        }
        let programs =
            recipe.packages.iter().filter(|name| !locked.packages[*name].recipe.build.calls.is_empty());
        programs.map(|program| self.calls_of(runtime, program)).collect()
    }

    fn calls_of(&mut self, runtime: &Name, program: &Name) -> StepId {
        let package = &self.locked.packages[program];
        let recipe = &package.recipe;
        let id = Id::new(Role::Package, program);
        let (source, _) = recipe.sources().next().expect("a recipe with calls has a source");
        let (source, _) = self.source(&id, package, source, &recipe.build.patches);
        let built: Vec<&Name> = recipe.build.inputs.iter().map(|place| recipe.input(place)).collect();
        let all = &self.locked.runtimes[runtime];
        let others: Vec<&Name> = all.packages.iter().filter(|name| *name != program).collect();
        let named = |name: &&Name| format!("{name} {}", self.locked.packages[*name].recipe.version);
        let work = Work::Calls(Calls {
            rules: abi::RULES,
            files: recipe.build.calls.clone(),
            loads: all.loads.clone(),
            built: built.len(),
            names: (program.to_string(), built.iter().chain(&others).map(named).collect()),
        });
        let mut inputs = vec![source];
        for name in built.into_iter().chain(others) {
            inputs.push(self.package(name));
        }
        self.add(Label::new(&Id::new(Role::Runtime, runtime), format!("calls:{program}")), work, inputs)
    }
}
