//! Replays the directories named on the command line, and says how long each took.

use std::env;
use std::path::Path;
use std::time::Instant;

use capture::{Options, Source, replay_directory};

fn main() -> Result<(), capture::CaptureError> {
    let mut options = Options::default();
    let start = Instant::now();
    for argument in env::args().skip(1) {
        if argument == "--raw" {
            options.source = Source::Raw;
            continue;
        }
        let begin = Instant::now();
        let replay = replay_directory(Path::new(&argument), options)?;
        let (sum, records) = (replay.totals(), replay.traces.iter().map(|trace| trace.records).sum::<u64>());
        println!(
            "{argument}: {records} records, {} VMs, {} snapshots: {} of {} entries exact, {} but for AF, {} differ; \
             {} invalidations agree, {} operations differ in them, {} answers differ, {:?}; {:.3} s",
            replay.vms.len(),
            replay.snapshots.len(),
            sum.exact,
            sum.entries,
            sum.af_only,
            sum.differing,
            replay.invalidations.agreed,
            replay.invalidations.differing.len(),
            replay.answers.differing.len(),
            replay.invalidations.apart,
            begin.elapsed().as_secs_f64()
        );
        for result in replay.snapshots.iter().filter(|result| result.comparison.differing > 0) {
            println!("  {}: {:x?}", result.name, result.comparison);
        }
        println!(
            "  failed {:?}, skipped {:?}, lost {:?}, not compared {:?}, answers {:?}, invalidations {:x?}",
            replay.failed,
            replay.skipped_vms,
            replay.lost,
            replay.uncompared,
            replay.answers.differing.iter().take(5).collect::<Vec<_>>(),
            replay.invalidations.differing.iter().take(5).collect::<Vec<_>>()
        );
    }
    println!("all: {:.3} s", start.elapsed().as_secs_f64());
    Ok(())
}
