//! How many parameters a function has, and how many fields a type.

/// The text behind this keyword, if the line declares with it.
fn declared<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let (before, after) = line.split_once(keyword)?;
    let modifiers = ["const", "unsafe", "async", "extern", "\"C\""];
    let mut before = before.split_whitespace();
    before.all(|word| word.starts_with("pub") || modifiers.contains(&word)).then_some(after)
}

/// The parts of what is in the first brackets of this kind, parted by commas
/// that are in no other brackets; `None` if none open before `stop`.
fn parts(first: &str, more: &[&str], open: char, stop: &[char]) -> Option<usize> {
    let lines = std::iter::once(first).chain(more.iter().copied());
    let code = lines.map(|line| line.split("//").next().unwrap_or(line));
    let code: String = code.flat_map(|line| line.chars().chain(['\n'])).take(20_000).collect();
    // An arrow closes nothing.
    let code = code.replace("->", "  ").replace("=>", "  ");
    let (mut depth, mut generic, mut parts, mut filled) = (0, 0, 0, false);
    for c in code.chars() {
        match c {
            '<' if depth == 0 => generic += 1,
            '>' if depth == 0 => generic -= 1,
            _ if generic > 0 && depth == 0 => {}
            c if depth == 0 && c == open => depth = 1,
            c if depth == 0 && stop.contains(&c) => return None,
            _ if depth == 0 => {}
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => {
                depth -= 1;
                if depth == 0 {
                    return Some(parts + usize::from(filled));
                }
            }
            ',' if depth == 1 => {
                parts += usize::from(filled);
                filled = false;
                continue;
            }
            _ => {}
        }
        filled |= depth > 0 && !c.is_whitespace() && !(depth == 1 && c == open);
    }
    None
}

/// How many parameters the function has that these lines begin with, itself
/// included.
pub fn parameters(lines: &[&str]) -> Option<usize> {
    parts(declared(lines[0], "fn ")?, &lines[1..], '(', &['{', ';'])
}

/// How many fields the type has that these lines begin with.
pub fn fields(lines: &[&str]) -> Option<usize> {
    parts(declared(lines[0], "struct ")?, &lines[1..], '{', &['(', ';'])
}
