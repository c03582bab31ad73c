//! What somebody may have meant who has written something else.

/// `; did you mean …?` if one of these is near, or else `; there are …`.
pub(super) fn meant(written: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|one| (distance(written, one), one)).min();
    match nearest {
        Some((distance, one)) if distance <= 1 + one.len() / 4 => {
            format!("; did you mean `{one}`?")
        }
        _ => format!("; there are `{}`", known.join("`, `")),
    }
}

/// How many characters have to be put in, left out, replaced, or exchanged with their neighbours
/// (the restricted Damerau-Levenshtein distance).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let above = &rows[i];
            let replaced = above[j] + usize::from(x != y);
            let mut least = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_proposed_and_what_is_not_is_listed() {
        let known = ["channel", "segment", "key"];
        for (written, said) in [
            ("chanel", "; did you mean `channel`?"),
            ("chnanel", "; did you mean `channel`?"),
            ("kye", "; did you mean `key`?"),
            ("segments", "; did you mean `segment`?"),
            ("colour", "; there are `channel`, `segment`, `key`"),
            ("", "; there are `channel`, `segment`, `key`"),
        ] {
            assert_eq!(meant(written, &known), said, "{written}");
        }
    }
}
