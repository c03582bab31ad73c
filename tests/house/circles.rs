//! Which file of the library uses which, read from its paths; and circles among
//! them.
//!
//! A path leads to the file that defines its item: re-exports are followed. A
//! re-export by itself is no use, or each `mod.rs` would use all of its folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Modules, from the root down.
type Module = Vec<String>;

/// A name that a file has from elsewhere.
struct Import {
    /// The path as it is written, without the name that it gets here.
    path: Vec<String>,
    /// The name here; `*` for all of a module's.
    name: String,
    public: bool,
}

struct File {
    name: String,
    imports: Vec<Import>,
    /// The code without its `use` declarations.
    code: String,
    /// The names that it defines.
    defined: BTreeSet<String>,
}

/// The files of the library by their modules.
pub struct Library(BTreeMap<Module, File>);

/// The module that a file holds.
fn module(file: &str) -> Module {
    // One module has another file in builds with a feature.
    let file = file.replace("no_crash", "crash");
    let path = Path::new(&file).with_extension("");
    let mut module: Module = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if matches!(module.last().unwrap().as_str(), "mod" | "lib") {
        module.pop();
    }
    module
}

/// All paths of a tree such as `a::{b, c::{self, d as e}}`.
fn expand(prefix: &[String], tree: &str, public: bool, into: &mut Vec<Import>) {
    let tree = tree.trim();
    let (path, rest) = tree.split_once('{').unwrap_or((tree, ""));
    let (path, alias) = path.split_once(" as ").unwrap_or((path, ""));
    let mut path: Vec<String> = prefix
        .iter()
        .cloned()
        .chain(path.split("::").map(|part| part.trim().to_owned()))
        .filter(|part| !part.is_empty())
        .collect();
    let Some(inner) = rest.strip_suffix('}') else {
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        let own = path.last().cloned().unwrap_or_default();
        let name = if alias.is_empty() { own } else { alias.trim().to_owned() };
        into.push(Import { path, name, public });
        return;
    };
    let mut depth = 0;
    let parts = inner.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    parts.filter(|part| !part.trim().is_empty()).for_each(|part| expand(&path, part, public, into));
}

/// Takes the `use` and `mod` declarations out of a file's code.
fn parse(name: &str, code: &str) -> File {
    let (mut imports, mut rest) = (Vec::new(), String::new());
    let mut open: Option<(bool, String)> = None;
    for line in code.lines() {
        let line = line.trim();
        let (public, tree) = match (&mut open, line) {
            (Some((public, tree)), more) => (*public, format!("{tree} {more}")),
            (None, line) => match line.split_once("use ") {
                Some((before, tree)) if before.is_empty() || before.starts_with("pub") => {
                    (!before.is_empty(), tree.to_owned())
                }
                _ => {
                    if !(line.contains("mod ") && line.ends_with(';')) {
                        rest.push_str(line);
                        rest.push('\n');
                    }
                    continue;
                }
            },
        };
        match tree.strip_suffix(';') {
            Some(tree) => {
                expand(&[], tree, public, &mut imports);
                open = None;
            }
            None => open = Some((public, tree)),
        }
    }
    let defined = defined(&rest);
    File { name: name.to_owned(), imports, code: rest, defined }
}

/// The names that code defines.
fn defined(code: &str) -> BTreeSet<String> {
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static", "union"];
    let words: Vec<&str> = code.split_whitespace().collect();
    let end = |c: char| !(c.is_alphanumeric() || c == '_');
    words
        .windows(2)
        .filter(|pair| kinds.contains(&pair[0]))
        .map(|pair| pair[1].split(end).next().unwrap_or_default().to_owned())
        .collect()
}

/// The paths and words of code, each as its parts.
fn paths(code: &str) -> impl Iterator<Item = Vec<&str>> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .map(|path| path.split("::").filter(|part| !part.is_empty()).collect::<Vec<_>>())
        .filter(|path| !path.is_empty())
}

impl Library {
    /// From files, each with its code.
    pub fn new(files: &BTreeMap<String, String>) -> Self {
        let file = |(name, code): (&String, &String)| (module(name), parse(name, code));
        Self(files.iter().map(file).collect())
    }

    /// The module in which a path's item is, as seen in module `at`.
    fn resolve(&self, at: &[String], path: &[&str], depth: usize) -> Option<Module> {
        let mut module = at.to_vec();
        let mut rest = path.iter().peekable();
        match **rest.peek()? {
            "crate" => module = Vec::new(),
            "self" => {}
            "super" => drop(module.pop()?),
            _ => return self.item(&module, path, depth),
        }
        rest.next();
        while rest.next_if(|part| **part == "super").is_some() {
            module.pop()?;
        }
        let rest: Vec<&str> = rest.copied().collect();
        if rest.is_empty() { Some(module) } else { self.item(&module, &rest, depth) }
    }

    /// The module in which an item is that `module` has under this path.
    fn item(&self, module: &[String], path: &[&str], depth: usize) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let child: Module = module.iter().cloned().chain([(*first).to_owned()]).collect();
        if self.0.contains_key(&child) {
            return if rest.is_empty() { Some(child) } else { self.item(&child, rest, depth) };
        }
        let file = self.0.get(module)?;
        let import = file.imports.iter().find(|import| import.name == *first);
        if let (Some(import), 1..) = (import, depth) {
            let longer: Vec<&str> =
                import.path.iter().map(String::as_str).chain(rest.iter().copied()).collect();
            // An item of another package is in no file.
            return self.resolve(module, &longer, depth - 1);
        }
        for glob in file.imports.iter().filter(|import| import.name == "*" && import.public) {
            let longer: Vec<&str> =
                glob.path[..glob.path.len() - 1].iter().map(String::as_str).collect();
            if let Some(from) = self.resolve(module, &longer, depth.checked_sub(1)?)
                && from != module
                && self.defines(&from, first)
            {
                return Some(from);
            }
        }
        self.defines(module, first).then(|| module.to_vec())
    }

    /// Whether a file defines a name.
    fn defines(&self, module: &[String], name: &str) -> bool {
        self.0.get(module).is_some_and(|file| file.defined.contains(name))
    }

    /// Each file with the files that it uses, and by what name.
    pub fn uses(&self) -> BTreeMap<&str, BTreeMap<&str, &str>> {
        let mut all = BTreeMap::new();
        for (module, file) in &self.0 {
            let used: &mut BTreeMap<&str, &str> = all.entry(file.name.as_str()).or_default();
            for path in paths(&file.code).collect::<BTreeSet<_>>() {
                let known =
                    file.imports.iter().any(|import| import.name == path[0]) || path.len() > 1;
                if known && let Some(to) = self.resolve(module, &path, 8) {
                    used.entry(self.0[&to].name.as_str()).or_insert(path[path.len() - 1]);
                }
            }
            used.remove(file.name.as_str());
        }
        all
    }

    /// The circles: files that use each other, directly or by way of others.
    pub fn circles(&self) -> Vec<BTreeSet<&str>> {
        let uses = self.uses();
        let reach = |from: &str| {
            let mut seen = BTreeSet::new();
            let mut open = vec![from];
            while let Some(file) = open.pop() {
                let new = uses[file].keys().copied().filter(|to| !seen.contains(to));
                let new: Vec<&str> = new.collect();
                seen.extend(&new);
                open.extend(new);
            }
            seen
        };
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            uses.keys().map(|file| (*file, reach(file))).collect();
        let mut circles = BTreeSet::new();
        for (file, to) in &reached {
            if to.contains(file) {
                circles.insert(
                    to.iter().copied().filter(|other| reached[other].contains(file)).collect(),
                );
            }
        }
        circles.into_iter().collect()
    }
}
