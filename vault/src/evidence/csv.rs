//! Comma-separated tables (RFC 4180) that no spreadsheet takes for formulas.

/// A table that grows line by line.
pub(super) struct Csv(String);

impl Csv {
    /// A table with these columns.
    pub(super) fn new(columns: &[&str]) -> Self {
        let mut table = Self(String::new());
        table.line(columns);
        table
    }

    /// Adds a line.
    pub(super) fn line<T: AsRef<str>>(&mut self, fields: &[T]) {
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                self.0.push(',');
            }
            self.field(field.as_ref());
        }
        self.0.push_str("\r\n");
    }

    /// What begins like a formula gets an apostrophe: a spreadsheet shows it as text then.
    fn field(&mut self, text: &str) {
        let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text != "-";
        self.0.push('"');
        if formula {
            self.0.push('\'');
        }
        self.0.push_str(&text.replace('"', "\"\""));
        self.0.push('"');
    }

    /// The bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_formulas_are_text() {
        let mut table = Csv::new(&["a", "b"]);
        table.line(&["say \"no\", twice\nor more", "=HYPERLINK(1)"]);
        table.line(&["-", "@x"]);
        let text = String::from_utf8(table.into_bytes()).unwrap();
        assert_eq!(
            text,
            "\"a\",\"b\"\r\n\"say \"\"no\"\", twice\nor more\",\"'=HYPERLINK(1)\"\r\n\"-\",\"'@x\"\r\n"
        );
    }
}
