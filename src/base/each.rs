//! A few threads over many jobs that mostly wait.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does something with each item on at most so many threads, and gives the results in the items' order. After an error
/// nothing more is begun; the first one in the items' order is given.
pub fn each<T: Sync, R: Send, E: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            results.lock().expect("no thread panics with it").insert(index, result);
        }
    };
    std::thread::scope(|scope| (0..threads.min(items.len())).for_each(|_| _ = scope.spawn(run)));
    results.into_inner().expect("no thread panics with it").into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_items_order_and_an_error_ends_it() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(
            each(&items, 4, |item| Ok::<_, usize>(item * 2)),
            Ok((0..100).map(|item| item * 2).collect())
        );
        assert_eq!(each(&items, 4, |item| if *item >= 3 { Err(*item) } else { Ok(()) }), Err(3));
        let begun = AtomicUsize::new(0);
        let failing = |item: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(*item)
        };
        assert_eq!(each(&items, 1, failing), Err(0));
        assert_eq!(begun.into_inner(), 1);
        assert_eq!(each(&[], 4, |item: &usize| Ok::<_, usize>(*item)), Ok(Vec::new()));
    }
}
