//! Formatting as Go's `fmt` does it.

use crate::Value;

/// Widths and precisions beyond this are refused, as in Go.
const WIDEST: isize = 1_000_000;

/// Operands in their default form, with blanks between two that are both no text.
pub(crate) fn print(args: &[Value]) -> String {
    let mut out = String::new();
    let mut was_text = true;
    for (position, arg) in args.iter().enumerate() {
        let is_text = matches!(arg, Value::Text(_));
        if position > 0 && !is_text && !was_text {
            out.push(' ');
        }
        out.push_str(&arg.to_string());
        was_text = is_text;
    }
    out
}

/// Operands in their default form with blanks between all, and a newline.
pub(crate) fn println(args: &[Value]) -> String {
    let mut out: Vec<String> = args.iter().map(ToString::to_string).collect();
    if let Some(last) = out.last_mut() {
        last.push('\n');
    } else {
        return "\n".to_owned();
    }
    out.join(" ")
}

/// The flags, width and precision of one verb.
#[derive(Clone, Copy, Default)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// `format` with its verbs replaced. Mistakes show up in the text, as in Go; an error is only what is not built here.
pub(crate) fn printf(format: &str, args: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut next = 0;
    let mut rest = format.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = rest.next_if(|c| "+-# 0".contains(*c)) {
            match flag {
                '+' => spec.plus = true,
                '-' => spec.minus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                _ => spec.zero = true,
            }
        }
        match count(&mut rest, args, &mut next) {
            Count::Number(width) => {
                spec.minus |= width < 0;
                spec.width = Some(width.unsigned_abs());
            }
            Count::None => {}
            Count::Bad => out.push_str("%!(BADWIDTH)"),
            Count::Overflow => rest = "".chars().peekable(),
        }
        if rest.next_if_eq(&'.').is_some() {
            match count(&mut rest, args, &mut next) {
                Count::Number(precision) => spec.precision = usize::try_from(precision).ok(),
                Count::None => spec.precision = Some(0),
                Count::Bad => out.push_str("%!(BADPREC)"),
                Count::Overflow => rest = "".chars().peekable(),
            }
        }
        let Some(verb) = rest.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        if verb == '[' {
            return Err("argument numbers such as %[1]d are not supported in formats".to_owned());
        }
        match args.get(next) {
            Some(arg) => out.push_str(&formatted(arg, verb, spec)),
            None => out.push_str(&format!("%!{verb}(MISSING)")),
        }
        next += 1;
    }
    if next < args.len() {
        let extra: Vec<String> = args[next..]
            .iter()
            .map(|arg| {
                if arg.is_nil() {
                    "<nil>".to_owned()
                } else {
                    format!("{}={arg}", arg.type_name())
                }
            })
            .collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(out)
}

/// A width or precision.
enum Count {
    None,
    Number(isize),
    /// An argument that is none.
    Bad,
    /// A number so large that Go gives the whole format up.
    Overflow,
}

/// A number in the format, or the next argument for `*`.
fn count(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, args: &[Value], next: &mut usize) -> Count {
    let widest = WIDEST.unsigned_abs();
    if rest.next_if_eq(&'*').is_some() {
        let arg = args.get(*next);
        *next += 1;
        return match arg {
            Some(Value::Int(number)) => match isize::try_from(*number) {
                Ok(number) if number.unsigned_abs() <= widest => Count::Number(number),
                _ => Count::Bad,
            },
            _ => Count::Bad,
        };
    }
    let mut number: Option<isize> = None;
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        let digit = digit
            .to_digit(10)
            .and_then(|d| isize::try_from(d).ok())
            .unwrap_or(0);
        let before = number.unwrap_or(0);
        if before > WIDEST {
            return Count::Overflow;
        }
        number = Some(before * 10 + digit);
    }
    number.map_or(Count::None, Count::Number)
}

fn formatted(arg: &Value, verb: char, spec: Spec) -> String {
    match (verb, arg) {
        ('T', _) => pad(arg.type_name(), spec),
        ('v', _) if spec.sharp => pad(&go_syntax(arg), spec),
        (_, Value::List(items)) => {
            let items: Vec<String> = items.iter().map(|item| formatted(item, verb, spec)).collect();
            format!("[{}]", items.join(" "))
        }
        (_, Value::Map(entries)) => {
            let entry = |(key, value): (&String, &Value)| {
                let key = formatted(&Value::Text(key.clone()), verb, spec);
                format!("{key}:{}", formatted(value, verb, spec))
            };
            let entries: Vec<String> = entries.iter().map(entry).collect();
            format!("map[{}]", entries.join(" "))
        }
        ('v', Value::Missing | Value::Nil) => pad("<nil>", spec),
        (_, Value::Missing | Value::Nil) => format!("%!{verb}(<nil>)"),
        ('v' | 't', Value::Bool(value)) => pad(&value.to_string(), spec),
        (_, Value::Int(value)) => integer(*value, verb, spec),
        (_, Value::Float(value)) => float(*value, verb, spec),
        (_, Value::Text(text)) => string(text, verb, spec),
        (_, Value::Bool(_)) => wrong(arg, verb),
    }
}

/// What Go prints for a verb that does not fit its argument.
fn wrong(arg: &Value, verb: char) -> String {
    format!("%!{verb}({}={arg})", arg.type_name())
}

fn string(text: &str, verb: char, spec: Spec) -> String {
    let cut: String = match spec.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    let hex = |upper: bool| -> String {
        let bytes = &text.as_bytes()[..spec.precision.map_or(text.len(), |p| p.min(text.len()))];
        let prefix = match (spec.sharp, upper) {
            (false, _) => "",
            (true, false) => "0x",
            (true, true) => "0X",
        };
        let each = |byte: &u8| {
            if upper {
                format!("{byte:02X}")
            } else {
                format!("{byte:02x}")
            }
        };
        let digits: Vec<String> = bytes.iter().map(each).collect();
        if digits.is_empty() {
            String::new()
        } else if spec.space {
            digits
                .iter()
                .map(|digits| format!("{prefix}{digits}"))
                .collect::<Vec<_>>()
                .join(" ")
        } else {
            format!("{prefix}{}", digits.concat())
        }
    };
    match verb {
        'v' | 's' => pad(&cut, spec),
        'q' if spec.sharp && !cut.contains('`') && cut.chars().all(|c| c == '\t' || is_printable(c)) => {
            pad(&format!("`{cut}`"), spec)
        }
        'q' => pad(&quote(&cut, '"', spec.plus), spec),
        'x' => pad(&hex(false), spec),
        'X' => pad(&hex(true), spec),
        _ => wrong(&Value::Text(text.to_owned()), verb),
    }
}

fn integer(value: i64, verb: char, spec: Spec) -> String {
    let character = u32::try_from(value)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or('\u{fffd}');
    let magnitude = value.unsigned_abs();
    let (digits, prefix) = match verb {
        'd' | 'v' => (magnitude.to_string(), ""),
        'b' => (format!("{magnitude:b}"), "0b"),
        'o' => (format!("{magnitude:o}"), "0"),
        'O' => (format!("{magnitude:o}"), "0o"),
        'x' => (format!("{magnitude:x}"), "0x"),
        'X' => (format!("{magnitude:X}"), "0X"),
        'c' => return pad(&character.to_string(), spec),
        'q' => return pad(&quote(&character.to_string(), '\'', spec.plus), spec),
        'U' => return pad(&format!("U+{magnitude:04X}"), spec),
        _ => return wrong(&Value::Int(value), verb),
    };
    let sign = sign(value < 0, spec);
    let prefix = if verb == 'O' || (spec.sharp && verb != 'd' && verb != 'v') {
        prefix
    } else {
        ""
    };
    let mut digits = digits;
    let wanted = match (spec.precision, spec.width) {
        (Some(0), _) if value == 0 => {
            return pad("", Spec { zero: false, ..spec });
        }
        (Some(precision), _) => precision,
        // Zeros fill the width up, behind the sign.
        (None, Some(width)) if spec.zero && !spec.minus => width.saturating_sub(sign.len()),
        _ => 0,
    };
    while digits.len() < wanted {
        digits.insert(0, '0');
    }
    pad(&format!("{sign}{prefix}{digits}"), Spec { zero: false, ..spec })
}

fn sign(negative: bool, spec: Spec) -> &'static str {
    match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    }
}

fn float(value: f64, verb: char, spec: Spec) -> String {
    let magnitude = value.abs();
    let digits = match (verb, spec.precision) {
        _ if value.is_nan() => "NaN".to_owned(),
        _ if value.is_infinite() => "Inf".to_owned(),
        ('v' | 'g', None) => shortest(magnitude),
        ('G', None) => shortest(magnitude).to_uppercase(),
        ('f' | 'F', precision) => format!("{magnitude:.*}", precision.unwrap_or(6)),
        ('e', precision) => exponent(&format!("{magnitude:.*e}", precision.unwrap_or(6))),
        ('E', precision) => exponent(&format!("{magnitude:.*e}", precision.unwrap_or(6))).to_uppercase(),
        ('v' | 'g', Some(precision)) => significant(magnitude, precision),
        ('G', Some(precision)) => significant(magnitude, precision).to_uppercase(),
        _ => return wrong(&Value::Float(value), verb),
    };
    let infinite = value.is_infinite();
    let sign = match sign(value.is_sign_negative() && !value.is_nan(), spec) {
        "" if infinite => "+",
        sign => sign,
    };
    let fill = spec.zero && !spec.minus && value.is_finite();
    let missing = spec.width.unwrap_or(0).saturating_sub(sign.len() + digits.len());
    let zeros = if fill { "0".repeat(missing) } else { String::new() };
    pad(&format!("{sign}{zeros}{digits}"), Spec { zero: false, ..spec })
}

/// The fewest digits that read back as the same number, with an exponent if that is below -4 or above 5.
pub(crate) fn shortest(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    match scientific
        .split_once('e')
        .and_then(|(_, power)| power.parse::<i32>().ok())
    {
        Some(power) if value != 0.0 && !(-4..=5).contains(&power) => exponent(&scientific),
        _ => format!("{value}"),
    }
}

/// `precision` significant digits, trailing zeros removed.
fn significant(value: f64, precision: usize) -> String {
    let precision = precision.max(1);
    let scientific = format!("{value:.*e}", precision - 1);
    let Some((digits, power)) = scientific.split_once('e') else {
        return scientific;
    };
    let trimmed = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    let power: i32 = power.parse().unwrap_or_default();
    let limit = i32::try_from(precision).unwrap_or(i32::MAX);
    if power < -4 || power >= limit {
        return exponent(&format!("{}e{power}", trimmed(digits)));
    }
    let decimals = usize::try_from(limit - 1 - power).unwrap_or(0);
    trimmed(&format!("{value:.decimals$}"))
}

/// Go writes exponents with a sign and at least two digits.
fn exponent(scientific: &str) -> String {
    let Some((digits, power)) = scientific.split_once('e') else {
        return scientific.to_owned();
    };
    let (sign, power) = match power.strip_prefix('-') {
        Some(power) => ('-', power),
        None => ('+', power),
    };
    format!("{digits}e{sign}{power:0>2}")
}

fn pad(text: &str, spec: Spec) -> String {
    let Some(missing) = spec
        .width
        .and_then(|width| width.checked_sub(text.chars().count()))
    else {
        return text.to_owned();
    };
    if spec.minus {
        format!("{text}{}", " ".repeat(missing))
    } else if spec.zero {
        format!("{}{text}", "0".repeat(missing))
    } else {
        format!("{}{text}", " ".repeat(missing))
    }
}

/// `text` as a Go constant; with `ascii`, other characters are escaped too.
fn quote(text: &str, mark: char, ascii: bool) -> String {
    let mut out = String::new();
    out.push(mark);
    for c in text.chars() {
        match c {
            c if c == mark || c == '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_ascii() && is_printable(c) => out.push(c),
            c if !ascii && is_printable(c) => out.push(c),
            c => match u32::from(c) {
                code @ 0..0x80 => out.push_str(&format!("\\x{code:02x}")),
                code @ 0x80..=0xffff => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    out.push(mark);
    out
}

/// Whether Go shows a character as such. Of the characters that Unicode calls unprintable, those that occur in practice
/// are known here: controls, separators other than the blank, formats, private ones.
pub(crate) fn is_printable(c: char) -> bool {
    let unseen = matches!(u32::from(c),
        0x80..=0xa0 | 0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x1680 | 0x180e | 0x2000..=0x200f
        | 0x2028..=0x202f | 0x205f..=0x206f | 0x3000 | 0xe000..=0xf8ff | 0xfeff | 0xfff9..=0xfffb | 0xfffe..=0xffff
        | 0xe0000..=0xe007f | 0xf0000..);
    !c.is_ascii_control() && !unseen
}

/// `%#v`
fn go_syntax(arg: &Value) -> String {
    // Inside of others, nothing has a type.
    let inner = |value: &Value| {
        if value.is_nil() {
            "interface {}(nil)".to_owned()
        } else {
            go_syntax(value)
        }
    };
    match arg {
        Value::Text(text) => quote(text, '"', false),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(inner).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Map(entries) => {
            let entry =
                |(key, value): (&String, &Value)| format!("{}:{}", quote(key, '"', false), inner(value));
            let entries: Vec<String> = entries.iter().map(entry).collect();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}
