//! The tour of README.md, typed word for word.

use anyhow::Result;
use quorate_tests::story;

#[test]
fn the_tour_of_the_readme_shows_what_it_tells() -> Result<()> {
    story::follow("README.md", "A tour in five minutes")
}
