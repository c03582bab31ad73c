//! The documents that a small stored sample gives; and that nothing is written
//! if something is missing.

use super::*;

const PLOT: &str = "docs/figures/some/throughput.svg";

/// A project with the two documents, which goes with the test.
struct Project(PathBuf);

const MARKED: &str = "before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n";

impl Project {
    fn new(readme: &str, page: &str) -> Self {
        let name =
            format!("tombolo-publish-{}-{:?}", std::process::id(), std::thread::current().id());
        let project = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(project.0.join("docs")).unwrap();
        fs::write(project.0.join(README), readme).unwrap();
        fs::write(project.0.join(PAGE), page).unwrap();
        project
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A report as `--report` leaves it: two rounds, some of it missing.
fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/publish/sample")
}

#[test]
fn the_readme_has_the_table_and_says_where_it_is_from() {
    let project = Project::new(MARKED, MARKED);
    publish(&project.0, &[sample()]).unwrap();
    assert_eq!(project.read(README), include_str!("sample/README.md"));
    // Once more, it is the same.
    publish(&project.0, &[sample()]).unwrap();
    assert_eq!(project.read(README), include_str!("sample/README.md"));
}

#[test]
fn the_page_has_what_was_to_be_reached_and_all_cases() {
    let project = Project::new(MARKED, MARKED);
    publish(&project.0, &[sample()]).unwrap();
    let page = project.read(PAGE);
    assert!(page.starts_with("before\n<!-- figures -->\n### Goals"));
    assert!(page.ends_with("\n<!-- /figures -->\nafter\n"));
    for line in [
        // 100 and 120 beside 200 and 200, each in its round; and 100 twice beside
        // 100 and 110.
        "| SPSC, one at a time, 8 B | ≥ 0.95 × the best raw ring | 0.55 (0.50 to 0.60): no |",
        "| SPSC, one at a time, 8 B | ≥ the best shared-memory library | 1.05 (1.00 to 1.09): yes |",
        "| SPSC, one at a time, 8 B | ≥ 20 × iceoryx2 | – |",
        "| SPSC round trip, both busy | ≤ 1.1 × the best raw exchange | 1.06 (0.95 to 1.20): in the median; the rounds disagree |",
        "| MPMC 8×8, 8 B | ≥ 0.7 × 2×2 | – |",
        "| open a segment of 1 GiB | ≤ 1 ms | 80.0 µs (80.0 µs to 80.0 µs): in the only round |",
        "**[Some](figures/some/cases.md)**",
    ] {
        assert!(page.contains(&format!("\n{line}\n")), "{line} in {page}");
    }
    let cases = project.read("docs/figures/some/cases.md");
    for line in [
        "**throughput: 8 B, 1024 slots, one at a time**",
        "| best raw ring | 0.55 (0.50–0.60) - | 0.95 (0.95–0.95) - |",
        "| shaq 4.2.0 SPSC | 1.05 (1.00–1.09) ~ | 1.81 (1.73–1.90) + |",
        "shaq 4.2.0 MPMC was left out: no end after 5.2 s.",
        "Rounds: 2; line round trip 60.5 ns, at most 61.0 ns; line of a stream 9.62 ns, at most \
         9.75 ns; run queue delay 1.00 %, at most 1.00 %.",
        "| pipe | 60.0 (60.0–60.0) ? | 95.0 (95.0–95.0) ? |",
    ] {
        assert!(cases.contains(&format!("\n{line}\n")), "{line} in {cases}");
    }
    assert!(!cases.contains("limits: "), "a case without Tombolo says nothing of it");
}

#[test]
fn makes_stand_side_by_side() {
    let project = Project::new(MARKED, MARKED);
    publish(&project.0, &[sample()]).unwrap();
    // Another machine's, of which only that is known.
    let other = project.0.join("docs/figures/any-other");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("measured.txt"), "Any Other\nMeasured long ago.\n").unwrap();
    fs::write(other.join("table.csv"), "\"\",\"one to one, 8 B\"\n\"pipe\",\"7.00\"\n").unwrap();
    let goal = "\"SPSC, one at a time, 8 B\",\"≥ 20 × iceoryx2\",\"30.0 (29.0 to 31.0)\",\"yes\"\n";
    fs::write(other.join("goals.csv"), goal).unwrap();
    for reports in [vec![], vec![sample()]] {
        publish(&project.0, &reports).unwrap();
        let (readme, page) = (project.read(README), project.read(PAGE));
        for line in [
            "In each cell: Any Other / Some.",
            "| pipe | 7.00 / 60.0 ? | – | – | – | – |",
            "Measured long ago.",
        ] {
            assert!(readme.contains(&format!("\n{line}\n")), "{line} in {readme}");
        }
        let line = "| SPSC, one at a time, 8 B | ≥ 20 × iceoryx2 | 30.0 (29.0 to 31.0): yes | – |";
        assert!(page.contains(&format!("\n{line}\n")), "{line} in {page}");
    }
}

#[test]
fn the_plot_explains_itself() {
    let project = Project::new(MARKED, MARKED);
    publish(&project.0, &[sample()]).unwrap();
    let svg = project.read(PLOT);
    assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
    for text in [plot::TITLE, "8 B a message", "64 B a message", "logarithmic", "Tombolo", "pipe"] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(svg.contains("110 M / –"), "what was not measured is not drawn: {svg}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

#[test]
fn where_marks_are_missing_nothing_is_written() {
    let twice = format!("{MARKED}{MARKED}");
    for (readme, page, said) in [
        ("nothing\n", MARKED, "README.md has no line <!-- figures -->"),
        (MARKED, "x\n<!-- figures -->\n", "docs/benchmarks.md has no line <!-- /figures -->"),
        (MARKED, &twice, "docs/benchmarks.md has more than one line <!-- figures -->"),
        (
            "x\n<!-- /figures -->\n<!-- figures -->\n",
            MARKED,
            "README.md has <!-- /figures --> before",
        ),
    ] {
        let project = Project::new(readme, page);
        let failure = publish(&project.0, &[sample()]).unwrap_err();
        assert!(failure.message().unwrap().contains(said), "{failure:?}");
        assert_eq!((project.read(README), project.read(PAGE)), (readme.into(), page.into()));
        assert!(!project.0.join(PLOT).exists());
    }
}

#[test]
fn a_report_that_is_none_is_told() {
    let project = Project::new(MARKED, MARKED);
    let failure = publish(&project.0, &[project.0.join("nowhere")]).unwrap_err();
    assert!(failure.message().unwrap().contains("nowhere/machine.csv"), "{failure:?}");
    assert_eq!(project.read(README), MARKED);
}
