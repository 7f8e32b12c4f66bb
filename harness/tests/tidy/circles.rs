//! Finds rooms of a crate that need each other: modules, each with what lies below it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module by its names from the root of its crate; the root is empty.
type Module = Vec<String>;

/// The modules of a crate that have a file each.
struct Code {
    modules: BTreeMap<Module, Source>,
}

/// The source of a module's file, without its tests.
#[derive(Default)]
struct Source {
    path: String,
    /// Paths that begin with `crate` or `super`, wherever they are.
    paths: Vec<Vec<String>>,
    /// The names that `use` gives in this module, with the paths that they stand for.
    names: BTreeMap<String, Vec<String>>,
}

/// Returns the shortest circle of a crate, as edges in words, if there is one.
///
/// `files` are the texts of its files by their paths below `src`.
pub(crate) fn shortest(files: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let code = Code::read(files);
    let mut shortest: Option<Vec<String>> = None;
    for (_, edges) in code.levels() {
        if let Some(circle) = circle(&edges)
            && shortest.as_ref().is_none_or(|other| circle.len() < other.len())
        {
            shortest = Some(circle);
        }
    }
    shortest
}

impl Code {
    #[expect(clippy::panic, reason = "helpers of a test may end it")]
    fn read(files: &BTreeMap<String, String>) -> Self {
        let mut modules = BTreeMap::new();
        for (path, text) in files {
            let module: Module = match path.strip_suffix(".rs") {
                Some("lib" | "main") => Vec::new(),
                Some(name) => name.split('/').map(str::to_owned).collect(),
                None => continue,
            };
            if module.last().is_some_and(|last| last == "tests") || module.contains(&"tests".into())
            {
                continue;
            }
            let tokens = TokenStream::from_str(text)
                .unwrap_or_else(|error| panic!("{path} is not Rust: {error}"));
            let tokens = without_tests(tokens.into_iter().collect());
            let mut source = Source { path: path.clone(), ..Source::default() };
            source.take_names(&tokens);
            take_paths(&tokens, &mut source.paths);
            modules.insert(module, source);
        }
        Self { modules }
    }

    /// Finds the module whose file defines what a path stands for.
    fn definer(&self, from: &Module, path: &[String], hops: usize) -> Option<Module> {
        let mut at = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "self" => from.clone(),
            "super" => from.split_last()?.1.to_vec(),
            child if self.modules.contains_key(&below(from, child)) => below(from, child),
            _ => return None,
        };
        for (index, name) in path.iter().enumerate().skip(1) {
            if name == "super" {
                at.pop();
            } else if self.modules.contains_key(&below(&at, name)) {
                at.push(name.clone());
            } else if let Some(real) = self.modules.get(&at)?.names.get(name)
                && hops > 0
            {
                let whole: Vec<_> = real.iter().chain(path.get(index + 1..)?).cloned().collect();
                return self.definer(&at, &whole, hops - 1).or(Some(at));
            } else {
                break;
            }
        }
        Some(at)
    }

    /// Returns which of the modules below each module needs which other, and why.
    fn levels(&self) -> BTreeMap<Module, BTreeMap<(String, String), String>> {
        const HOPS: usize = 8;
        let mut levels: BTreeMap<Module, BTreeMap<(String, String), String>> = BTreeMap::new();
        for (module, source) in &self.modules {
            for path in &source.paths {
                let Some(other) = self.definer(module, path, HOPS) else { continue };
                let common = module.iter().zip(&other).take_while(|(a, b)| a == b).count();
                let (Some(from), Some(to)) = (module.get(common), other.get(common)) else {
                    continue; // One of them lies below the other: the same room.
                };
                let words = format!("{} → {}", source.path, self.modules[&other].path);
                let edges = levels.entry(module[..common].to_vec()).or_default();
                edges.entry((from.clone(), to.clone())).or_insert(words);
            }
        }
        levels
    }
}

/// Returns the shortest way from a room back to itself.
fn circle(edges: &BTreeMap<(String, String), String>) -> Option<Vec<String>> {
    let rooms: BTreeSet<&String> = edges.keys().map(|(from, _)| from).collect();
    let around = |start: &String| -> Option<Vec<String>> {
        let mut ways: VecDeque<Vec<&String>> = VecDeque::from([vec![start]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            let last = *way.last()?;
            for (from, to) in edges.keys().filter(|(from, _)| from == last) {
                if to == start {
                    let steps = way.iter().skip(1).copied().chain([start]);
                    let pairs = way.iter().copied().zip(steps);
                    let words = |(a, b): (&String, &String)| {
                        edges.get(&(a.clone(), b.clone())).cloned().unwrap_or_default()
                    };
                    return Some(pairs.map(words).collect());
                }
                if seen.insert((from, to)) {
                    ways.push_back(way.iter().copied().chain([to]).collect());
                }
            }
        }
        None
    };
    rooms.into_iter().filter_map(around).min_by_key(Vec::len)
}

fn below(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// Leaves out what follows `#[cfg(test)]`, to the end of the item.
fn without_tests(tokens: Vec<TokenTree>) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let test = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == '#')
            && rest.peek().is_some_and(|next| next.to_string().replace(' ', "") == "[cfg(test)]");
        if !test {
            kept.push(token);
            continue;
        }
        rest.next();
        for token in rest.by_ref() {
            let ends = match &token {
                TokenTree::Punct(mark) => mark.as_char() == ';',
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                _ => false,
            };
            if ends {
                break;
            }
        }
    }
    kept
}

/// Collects each path that begins with `crate` or `super`, including those in groups.
fn take_paths(tokens: &[TokenTree], paths: &mut Vec<Vec<String>>) {
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(word) if *word == "crate" || *word == "super" => {
                at += tree(&tokens[at..], &[], &mut |path, _| paths.push(path));
            }
            TokenTree::Group(group) => {
                take_paths(&group.stream().into_iter().collect::<Vec<_>>(), paths);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Reads `a::b`, `a::{b, c::d}` or `a as b`, and returns how many tokens that were.
fn tree(
    tokens: &[TokenTree],
    before: &[String],
    found: &mut dyn FnMut(Vec<String>, Option<String>),
) -> usize {
    let mut path = before.to_vec();
    let mut at = 0;
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(word)) => path.push(word.to_string()),
            Some(TokenTree::Punct(star)) if star.as_char() == '*' => path.push("*".to_owned()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                let comma = |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',');
                for part in inner.split(comma).filter(|part| !part.is_empty()) {
                    tree(part, &path, found);
                }
                return at + 1;
            }
            _ => break,
        }
        at += 1;
        let colons = |index: usize| matches!(tokens.get(index), Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
        if !(colons(at) && colons(at + 1)) {
            break;
        }
        at += 2;
    }
    let alias = match (tokens.get(at), tokens.get(at + 1)) {
        (Some(TokenTree::Ident(word)), Some(TokenTree::Ident(alias))) if *word == "as" => {
            Some(alias.to_string())
        }
        _ => None,
    };
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    found(path, alias);
    at.max(1)
}

impl Source {
    /// Collects the names that `use` gives, at the top of the file.
    fn take_names(&mut self, tokens: &[TokenTree]) {
        for (at, token) in tokens.iter().enumerate() {
            if matches!(token, TokenTree::Ident(word) if *word == "use") {
                tree(&tokens[at + 1..], &[], &mut |path, alias| {
                    if let Some(name) = alias.or_else(|| path.last().cloned()) {
                        self.names.insert(name, path);
                    }
                });
            }
        }
    }
}
