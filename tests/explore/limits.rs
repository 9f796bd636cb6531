//! Bodies that two parsers could read differently, put together from pieces: a thousand times what seeds can be.

use super::fuzz_targets::limited_request;

const MEMBERS: &[&str] = &[
    r#""id":1"#,
    r#""method":"tools/call""#,
    r#""method":"ping""#,
    r#""Method":"tools/call""#,
    r#""\u006dethod":"tools/call""#,
    r#""params":{"name":"a"}"#,
    r#""params":{"name":"b","arguments":{"name":"c"}}"#,
    r#""params":{"name":"a","n\u0061me":"b"}"#,
    r#""params":{"Name":"b"}"#,
    r#""params":{"name":7}"#,
    r#""params":["a"]"#,
    "\"param\u{17f}\":{\"name\":\"b\"}",
    r#""result":{}"#,
    r#""x":[{"method":"tools/call"}]"#,
];
const EDITS: &[&str] = &[
    "", "\"", "{", "}", ",", "\\", "\u{0}", "[", "]", " ", "\u{feff}",
];

#[test]
fn a_body_that_is_accepted_is_read_alike_by_every_parser() {
    // xorshift (Marsaglia 2003): the same each time.
    let mut state = 1_u64;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit as u64).unwrap()
    };
    for _ in 0..10_000 {
        let members: Vec<_> = (0..below(5))
            .map(|_| MEMBERS[below(MEMBERS.len())])
            .collect();
        let mut body = format!("{{{}}}", members.join(","));
        if below(4) == 0 {
            body = format!("[{body},{body}]");
        }
        if below(4) == 0 {
            let at = (0..=body.len())
                .filter(|at| body.is_char_boundary(*at))
                .nth(below(body.len()))
                .unwrap_or(0);
            body.insert_str(at, EDITS[below(EDITS.len())]);
        }
        limited_request(body.as_bytes());
    }
}
