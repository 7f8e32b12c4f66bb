//! Selects the scenarios of a folder that are run.

use super::{Scenario, ScenarioError};

/// A selection of scenarios.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selection {
    /// Parts of names, any of which will do; if empty, all names.
    pub filters: Vec<String>,
    /// Tags, any of which will do; if empty, all scenarios.
    pub tags: Vec<String>,
    /// The part of them that belongs to this run; by default all.
    pub shard: Option<Shard>,
}

/// One part of a suite that several machines share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shard {
    /// Which part, from 1.
    pub index: usize,
    /// How many parts there are.
    pub of: usize,
}

impl Shard {
    /// Reads `I/N`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, of)| {
            let (index, of) = (index.parse::<usize>().ok()?, of.parse::<usize>().ok()?);
            (1..=of).contains(&index).then_some(Self { index, of })
        });
        numbers.ok_or_else(|| "use I/N with I from 1 to N, such as 2/3".to_owned())
    }
}

impl Selection {
    /// Keeps what is selected; nothing is an error, because an empty suite proves nothing.
    ///
    /// Shards take turns in the order of names, so that the long scenarios of a folder are
    /// distributed.
    pub fn of(&self, all: Vec<Scenario>) -> Result<Vec<Scenario>, ScenarioError> {
        let exact = |filter: &String| all.iter().any(|scenario| scenario.name == *filter);
        let exact: Vec<bool> = self.filters.iter().map(exact).collect();
        let wants = |scenario: &Scenario| self.wants(scenario, &exact);
        let mut chosen: Vec<_> = all.into_iter().filter(wants).collect();
        chosen.sort_by(|one, other| one.name.cmp(&other.name));
        if let Some(Shard { index, of }) = self.shard {
            chosen = chosen.into_iter().skip(index - 1).step_by(of).collect();
        }
        if chosen.is_empty() {
            return Err(ScenarioError::NoMatch { wanted: self.words() });
        }
        Ok(chosen)
    }

    /// Returns whether a scenario is wanted.
    ///
    /// A filter that is the whole name of a scenario, as `exact` says for each, means only that
    /// one.
    fn wants(&self, scenario: &Scenario, exact: &[bool]) -> bool {
        let name = |(filter, exact): (&String, &bool)| {
            scenario.name == *filter || !exact && scenario.name.contains(filter.as_str())
        };
        let tag = |tag: &String| scenario.tags.contains(tag);
        (self.filters.is_empty() || self.filters.iter().zip(exact).any(name))
            && (self.tags.is_empty() || self.tags.iter().any(tag))
    }

    fn words(&self) -> String {
        let filters = self.filters.iter().map(|filter| format!("the name {filter}"));
        let tags = self.tags.iter().map(|tag| format!("the tag {tag}"));
        let shard = self.shard.map(|shard| format!("the shard {}/{}", shard.index, shard.of));
        filters.chain(tags).chain(shard).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scenarios(names: &[&str]) -> Vec<Scenario> {
        let text = "claim = 'It.'\npayload = 'p'\ntags = ['T']\nexpect = { exit = 0 }\n";
        let make = |name: &&str| Scenario {
            name: (*name).to_owned(),
            tags: vec![name.split('/').next().unwrap_or_default().to_owned()],
            ..Scenario::parse(text).unwrap()
        };
        names.iter().map(make).collect()
    }

    fn names(selection: &Selection, all: &[&str]) -> Result<Vec<String>, String> {
        let chosen = selection.of(scenarios(all)).map_err(|error| error.to_string())?;
        Ok(chosen.into_iter().map(|scenario| scenario.name).collect())
    }

    #[test]
    fn names_and_tags_choose_and_what_chooses_nothing_is_an_error() {
        let all = ["failure/hangs", "boot/minimal", "boot/minimal-again", "boot/no-root"];
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        for (filters, tags, want) in [
            (&[][..], &["failure"][..], Ok(&["failure/hangs"][..])),
            (&["mini", "hangs"], &[], Ok(&["boot/minimal", "boot/minimal-again", "failure/hangs"])),
            (&["boot/minimal"], &[], Ok(&["boot/minimal"])),
            (&[], &["failure"], Ok(&["failure/hangs"])),
            (&["root"], &["boot"], Ok(&["boot/no-root"])),
            (&["root"], &["failure"], Err("no scenario has the name root, the tag failure")),
        ] {
            let (filters, tags) = (words(filters), words(tags));
            let found = names(&Selection { filters, tags, shard: None }, &all);
            assert_eq!(found, want.map(words).map_err(str::to_owned));
        }
    }

    #[test]
    fn a_shard_is_one_of_its_number() {
        assert_eq!(Shard::parse("2/3"), Ok(Shard { index: 2, of: 3 }));
        for text in ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"] {
            let error = Shard::parse(text).unwrap_err();
            assert_eq!(error, "use I/N with I from 1 to N, such as 2/3", "{text}");
        }
    }

    proptest! {
        #[test]
        fn shards_together_run_each_scenario_once(number in 1..40_usize, of in 1..8_usize) {
            let all: Vec<String> = (0..number).map(|n| format!("boot/{n:02}")).collect();
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            let mut run = Vec::new();
            for index in 1..=of {
                let shard = Some(Shard { index, of });
                run.extend(names(&Selection { shard, ..Selection::default() }, &all).unwrap_or_default());
            }
            run.sort();
            prop_assert_eq!(run, all);
        }
    }
}
