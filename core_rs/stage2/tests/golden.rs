//! Upstream's own answers (Linux 7.3 in user space) to scripts of operations: `data/golden`.

use std::fs;
use std::path::Path;

#[test]
fn every_golden_case_is_reproduced_to_the_letter() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/golden");
    let mut cases = 0;
    for entry in fs::read_dir(&golden).expect("data/golden is part of the repository") {
        let script = entry.unwrap().path();
        if script.extension().is_none_or(|extension| extension != "ops") {
            continue;
        }
        let report = stage2::run_ops(&fs::read_to_string(&script).unwrap()).unwrap();
        let upstream = fs::read_to_string(script.with_extension("out")).unwrap();
        let differs = report.lines().zip(upstream.lines()).position(|(ours, theirs)| ours != theirs);
        if let Some(line) = differs {
            let context = |text: &str| {
                let from = line.saturating_sub(6);
                text.lines().skip(from).take(line - from + 3).collect::<Vec<_>>().join("\n")
            };
            panic!(
                "{} differs at line {}\n--- ours\n{}\n--- upstream\n{}",
                script.display(),
                line + 1,
                context(&report),
                context(&upstream)
            );
        }
        assert_eq!(report, upstream, "{}", script.display());
        cases += 1;
    }
    assert!(cases >= 79, "only {cases} golden cases found");
}
