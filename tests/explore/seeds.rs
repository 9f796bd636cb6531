//! The fuzz targets over their seeds, whole, cut short, and joined: what the fuzzer does at length (fuzz/README.md).

use std::{fs, path::Path};

use super::fuzz_targets::TARGETS;

/// How many shorter inputs are made of each seed.
const PREFIXES: usize = 24;

#[test]
fn every_fuzz_target_holds_for_its_seeds() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/seeds")
            .join(name);
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        let seeds: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        assert!(seeds.len() >= 3, "{name}");
        for (number, seed) in seeds.iter().enumerate() {
            target(seed);
            for part in 0..PREFIXES {
                target(&seed[..seed.len() * part / PREFIXES]);
            }
            let next = &seeds[(number + 1) % seeds.len()];
            target(&[&seed[..], next].concat());
        }
    }
}

#[test]
fn every_folder_of_seeds_belongs_to_a_fuzz_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            TARGETS.iter().any(|(target, _)| name == *target),
            "{name:?}"
        );
    }
}
