//! An own writer of tar archives: it writes what no well-behaved tool would.

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File(Vec<u8>),
    Dir,
    Symlink(Vec<u8>),
    Link(Vec<u8>),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// How what a plain header cannot hold is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// POSIX.1-2001 extended headers.
    Pax,
    /// GNU's `L` and `K` entries and base-256 numbers.
    Gnu,
}

/// One entry of an archive.
#[derive(Clone, Debug)]
pub struct Item {
    pub path: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: (i64, u32),
    /// PAX records besides those that the entry needs.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Item {
    pub fn new(path: impl AsRef<[u8]>, kind: Kind) -> Self {
        let mode = if kind == Kind::Dir { 0o755 } else { 0o644 };
        Self {
            path: path.as_ref().to_vec(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: (1_700_000_000, 0),
            records: Vec::new(),
        }
    }

    pub fn file(path: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        Self::new(path, Kind::File(data.as_ref().to_vec()))
    }

    pub fn dir(path: impl AsRef<[u8]>) -> Self {
        Self::new(path, Kind::Dir)
    }

    pub fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(path, Kind::Symlink(target.as_ref().to_vec()))
    }

    pub fn link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self::new(path, Kind::Link(target.as_ref().to_vec()))
    }

    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub fn mtime(mut self, seconds: i64, nanoseconds: u32) -> Self {
        self.mtime = (seconds, nanoseconds);
        self
    }

    pub fn record(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let record = (key.as_ref().to_vec(), value.as_ref().to_vec());
        self.records.push(record);
        self
    }

    pub fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.record(format!("SCHILY.xattr.{name}"), value)
    }

    fn typeflag(&self) -> u8 {
        match self.kind {
            Kind::File(_) => b'0',
            Kind::Link(_) => b'1',
            Kind::Symlink(_) => b'2',
            Kind::Char(..) => b'3',
            Kind::Block(..) => b'4',
            Kind::Dir => b'5',
            Kind::Fifo => b'6',
        }
    }

    fn target(&self) -> &[u8] {
        match &self.kind {
            Kind::Symlink(target) | Kind::Link(target) => target,
            _ => &[],
        }
    }

    fn data(&self) -> &[u8] {
        match &self.kind {
            Kind::File(data) => data,
            _ => &[],
        }
    }
}

/// The archive of `items`, with its end.
pub fn archive(items: &[Item], dialect: Dialect) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        match dialect {
            Dialect::Pax => extend_pax(&mut out, item),
            Dialect::Gnu => extend_gnu(&mut out, item),
        }
        out.extend(header(item, dialect));
        padded(&mut out, item.data());
    }
    out.extend([0; 1024]);
    out
}

fn padded(out: &mut Vec<u8>, data: &[u8]) {
    out.extend(data);
    out.resize(out.len().next_multiple_of(512), 0);
}

fn extend_pax(out: &mut Vec<u8>, item: &Item) {
    let mut records = Vec::new();
    let mut add = |key: &str, value: &[u8]| records.extend(pax_record(key.as_bytes(), value));
    if item.path.len() > 100 {
        add("path", &item.path);
    }
    if item.target().len() > 100 {
        add("linkpath", item.target());
    }
    for (key, id) in [("uid", item.uid), ("gid", item.gid)] {
        if id > 0o7_777_777 {
            add(key, id.to_string().as_bytes());
        }
    }
    if item.mtime.1 != 0 || !octal_fits(item.mtime.0) {
        add("mtime", pax_time(item.mtime).as_bytes());
    }
    for (key, value) in &item.records {
        records.extend(pax_record(key, value));
    }
    if !records.is_empty() {
        let extended = Item::file("PaxHeaders/x", &records);
        out.extend(raw_header(&extended, b'x', Dialect::Pax));
        padded(out, &records);
    }
}

fn extend_gnu(out: &mut Vec<u8>, item: &Item) {
    assert!(item.records.is_empty(), "GNU headers hold no records");
    for (kind, text) in [(b'L', &item.path[..]), (b'K', item.target())] {
        if text.len() > 100 {
            let data = [text, &[0]].concat();
            let long = Item::file("././@LongLink", &data);
            out.extend(raw_header(&long, kind, Dialect::Gnu));
            padded(out, &data);
        }
    }
}

fn octal_fits(seconds: i64) -> bool {
    (0..1 << 33).contains(&seconds)
}

fn pax_time((seconds, nanoseconds): (i64, u32)) -> String {
    match (seconds < 0, nanoseconds) {
        (_, 0) => seconds.to_string(),
        (false, nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
        // Floor and fraction become a negative number's digits.
        (true, nanoseconds) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
    }
}

fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let body = [b" ", key, b"=", value, b"\n"].concat();
    let mut len = body.len() + 1;
    while len != body.len() + len.to_string().len() {
        len = body.len() + len.to_string().len();
    }
    [len.to_string().as_bytes(), &body].concat()
}

fn header(item: &Item, dialect: Dialect) -> [u8; 512] {
    raw_header(item, item.typeflag(), dialect)
}

fn raw_header(item: &Item, typeflag: u8, dialect: Dialect) -> [u8; 512] {
    let mut out = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    let cut = |bytes: &[u8]| bytes[..bytes.len().min(100)].to_vec();
    put(0, &cut(&item.path));
    put(100, format!("{:07o}\0", item.mode).as_bytes());
    put(108, &number(item.uid, 8, dialect));
    put(116, &number(item.gid, 8, dialect));
    put(124, &number(item.data().len() as u64, 12, dialect));
    put(136, &time(item.mtime.0, dialect));
    put(148, &[b' '; 8]);
    put(156, &[typeflag]);
    put(157, &cut(item.target()));
    let magic: &[u8] = match dialect {
        Dialect::Pax => b"ustar\x0000",
        Dialect::Gnu => b"ustar  \0",
    };
    put(257, magic);
    if let Kind::Char(major, minor) | Kind::Block(major, minor) = item.kind {
        put(329, format!("{major:07o}\0").as_bytes());
        put(337, format!("{minor:07o}\0").as_bytes());
    }
    let sum: u32 = out.iter().map(|byte| u32::from(*byte)).sum();
    out[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out
}

/// Octal where it fits; else zero (PAX has a record for it) or base 256 (GNU).
fn number(value: u64, width: usize, dialect: Dialect) -> Vec<u8> {
    let fits = value < 1 << (3 * (width - 1));
    match (fits, dialect) {
        (true, _) => format!("{value:0digits$o}\0", digits = width - 1).into_bytes(),
        (false, Dialect::Pax) => number(0, width, dialect),
        (false, Dialect::Gnu) => base256(value as i64, width),
    }
}

fn time(seconds: i64, dialect: Dialect) -> Vec<u8> {
    match (octal_fits(seconds), dialect) {
        (false, Dialect::Gnu) => base256(seconds, 12),
        (false, Dialect::Pax) => number(0, 12, dialect),
        (true, _) => number(seconds as u64, 12, dialect),
    }
}

fn base256(value: i64, width: usize) -> Vec<u8> {
    let mut out = vec![if value < 0 { 0xff } else { 0 }; width - 8];
    out.extend(value.to_be_bytes());
    out[0] |= 0x80;
    out
}
