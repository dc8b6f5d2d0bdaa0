//! How the buffers of Arrow's IPC format are compressed, which its reader does not say, and whether they can be as long as
//! they say, which its reader does not check.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use arrow_ipc::{Block, CompressionType, Message, RecordBatch, root_as_footer, root_as_message};

/// The length of a footer in 4 bytes, and the magic.
const TAIL: i64 = 10;

/// No footer or message header that is longer is read.
const LONGEST: usize = 64 << 20;

/// What stands before the length of a message since version 0.15.
const MARKER: [u8; 4] = [0xff; 4];

/// A byte stands for at most this many: Zstandard's densest block has 128 KiB in 4 bytes.
const DENSEST: i64 = 1 << 15;

/// Returns the compression of a file's first record batch, if it has one, and refuses buffers that cannot be as long as
/// they say: the reader reserves memory for them. What else cannot be read counts as uncompressed: the reader of the file
/// says what is wrong with it.
pub(super) fn of(file: &mut File) -> io::Result<Option<CompressionType>> {
    let found = find(file);
    file.rewind()?;
    match found {
        Err(error) if is_ours(&error) => Err(error),
        found => Ok(found.ok().flatten()),
    }
}

/// Refuses a stream with a buffer that cannot be as long as it says. What comes through a pipe cannot be looked at before.
pub(super) fn check_stream(file: &mut File) -> io::Result<()> {
    let checked = check_messages(file);
    file.rewind()?;
    checked.or_else(|error| if is_ours(&error) { Err(error) } else { Ok(()) })
}

/// Whether an error is about what is checked here, and not one that the reader of the file finds too.
fn is_ours(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::UnexpectedEof && error.kind() != io::ErrorKind::InvalidInput
}

fn find(file: &mut File) -> io::Result<Option<CompressionType>> {
    file.seek(SeekFrom::End(-TAIL))?;
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = i64::from(i32::from_le_bytes(length));
    file.seek(SeekFrom::End(-TAIL - length.max(0)))?;
    let footer = read(file, length)?;
    let Ok(footer) = root_as_footer(&footer) else { return Ok(None) };
    let blocks = || footer.dictionaries().into_iter().chain(footer.recordBatches()).flatten();
    let size = file.metadata()?.len();
    if !blocks().all(|block| is_within(block, size)) {
        return Err(invalid("its footer names places outside the file"));
    }
    let mut first = None;
    for block in blocks() {
        file.seek(SeekFrom::Start(block.offset().cast_unsigned()))?;
        let header = read(file, block.metaDataLength().into())?;
        let start = if header.starts_with(&MARKER) { 8 } else { 4 };
        let Some(message) = header.get(start..).and_then(|message| root_as_message(message).ok()) else {
            continue;
        };
        check_buffers(file, message, block.offset() + i64::from(block.metaDataLength()))?;
        let batch = message.header_as_record_batch();
        first = first.or(batch.map(|batch| batch.compression().map(|compression| compression.codec())));
    }
    Ok(first.flatten())
}

/// The messages of a stream, one after the other.
fn check_messages(file: &mut File) -> io::Result<()> {
    let mut place = 0_i64;
    loop {
        file.seek(SeekFrom::Start(place.cast_unsigned()))?;
        let mut word = [0; 4];
        file.read_exact(&mut word)?;
        place += 4;
        if word == MARKER {
            file.read_exact(&mut word)?;
            place += 4;
        }
        let length = i64::from(i32::from_le_bytes(word));
        if length <= 0 {
            return Ok(());
        }
        let header = read(file, length)?;
        let Ok(message) = root_as_message(&header) else { return Ok(()) };
        let (body, end) = (place + length, (place + length).checked_add(message.bodyLength().max(0)));
        check_buffers(file, message, body)?;
        let Some(end) = end else { return Ok(()) };
        place = end;
    }
}

/// Checks the lengths that stand before compressed buffers; `body` is where a message's buffers begin.
fn check_buffers(file: &mut File, message: Message<'_>, body: i64) -> io::Result<()> {
    let of_dictionary = || message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let batch: Option<RecordBatch<'_>> = message.header_as_record_batch().or_else(of_dictionary);
    let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else { return Ok(()) };
    for buffer in batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() > 8) {
        let Some(place) = body.checked_add(buffer.offset()).filter(|place| *place >= 0) else { continue };
        file.seek(SeekFrom::Start(place.cast_unsigned()))?;
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        // -1 stands before a buffer that is not compressed after all
        let length = i64::from_le_bytes(length);
        if !(-1..=buffer.length().saturating_mul(DENSEST)).contains(&length) {
            return Err(invalid("a compressed buffer in it says that it is longer than it can be"));
        }
    }
    Ok(())
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The reader of the file takes it for granted.
fn is_within(block: &Block, size: u64) -> bool {
    let parts = [block.offset(), block.metaDataLength().into(), block.bodyLength()];
    let sum = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(u64::try_from(*part).ok()?));
    sum.is_some_and(|end| end <= size)
}

fn read(file: &mut File, length: i64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).unwrap_or_default().min(LONGEST);
    let mut bytes = Vec::new();
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
