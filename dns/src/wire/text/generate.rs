//! $GENERATE: one line of a zone file written many times, with a number put in (BIND's extension).
use super::TextError;
use super::token::Entry;

/// The most lines of one $GENERATE.
const MOST: u64 = 65536;

/// Which numbers are put in, and where.
#[derive(Clone, Debug)]
pub(super) struct Generate {
    next: Option<u64>,
    stop: u64,
    step: u64,
    template: Vec<u8>,
}

impl Generate {
    /// Reads "$GENERATE start-stop/step line".
    pub(super) fn new(entry: &Entry) -> Result<Generate, TextError> {
        let range = entry.tokens.get(1).ok_or("$GENERATE without a range; write $GENERATE START-STOP LINE")?;
        let malformed = || format!("{range} is no range; write START-STOP or START-STOP/STEP, at most {MOST} numbers");
        let (bounds, step) =
            range.word().map(|word| word.split_once('/').unwrap_or((word, "1"))).ok_or_else(malformed)?;
        let (start, stop) = bounds.split_once('-').ok_or_else(malformed)?;
        let number = |text: &str| text.parse::<u32>().ok().map(u64::from);
        let (Some(start), Some(stop), Some(step)) = (number(start), number(stop), number(step)) else {
            return Err(malformed().into());
        };
        if step == 0 || stop < start || (stop - start) / step >= MOST {
            return Err(malformed().into());
        }
        let mut template = Vec::new();
        for token in entry.tokens.iter().skip(2) {
            let quote = if token.is_quoted { &b"\""[..] } else { b"" };
            template.extend([quote, &token.text, quote, b" "].concat());
        }
        Ok(Generate { next: Some(start), stop, step, template })
    }

    /// The next line.
    pub(super) fn line(&mut self) -> Option<Result<Vec<u8>, TextError>> {
        let number = self.next?;
        self.next = number.checked_add(self.step).filter(|next| *next <= self.stop);
        Some(fill(&self.template, number))
    }
}

/// Puts a number in for each "$" or "${offset,width,base}"; "$$" and "\$" are a dollar sign.
fn fill(template: &[u8], number: u64) -> Result<Vec<u8>, TextError> {
    let mut line = Vec::with_capacity(template.len() + 8);
    let mut rest = template;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\\', [b'$', tail @ ..]) | (b'$', [b'$', tail @ ..]) => {
                line.push(b'$');
                tail
            }
            (b'$', [b'{', tail @ ..]) => {
                let end = tail.iter().position(|byte| *byte == b'}').ok_or("\"${\" isn't closed in $GENERATE")?;
                let (modifier, tail) = tail.split_at(end);
                let modifier = String::from_utf8_lossy(modifier);
                let text = modified(&modifier, number).ok_or_else(|| {
                    format!("${{{modifier}}} is malformed; write ${{OFFSET,WIDTH,BASE}} with BASE d, o, x or X")
                })?;
                line.extend(text.bytes());
                tail.get(1..).unwrap_or_default()
            }
            (b'$', tail) => {
                line.extend(number.to_string().bytes());
                tail
            }
            (b'\\', [escaped, tail @ ..]) => {
                line.extend([b'\\', *escaped]);
                tail
            }
            (byte, tail) => {
                line.push(*byte);
                tail
            }
        };
    }
    Ok(line)
}

/// The number with an offset, in so many digits of a base.
fn modified(modifier: &str, number: u64) -> Option<String> {
    let mut parts = modifier.split(',');
    let offset: i64 = parts.next()?.parse().ok()?;
    let width = usize::from(parts.next().map_or(Some(0), |width| width.parse::<u8>().ok())?);
    let base = parts.next().unwrap_or("d");
    let value = number.checked_add_signed(offset)?;
    let text = match base {
        "d" => format!("{value:0width$}"),
        "o" => format!("{value:0width$o}"),
        "x" => format!("{value:0width$x}"),
        "X" => format!("{value:0width$X}"),
        _ => return None,
    };
    parts.next().is_none().then_some(text)
}
