//! How the buffers of an IPC file are compressed, which its reader does not say.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use arrow_ipc::{Block, CompressionType, root_as_footer, root_as_message};

/// The length of a footer in 4 bytes, and the magic.
const TAIL: i64 = 10;

/// No footer or message header that is longer is read.
const LONGEST: usize = 64 << 20;

/// Returns the compression of the first record batch, if it has one. What cannot be read counts as uncompressed: the
/// reader of the file says what is wrong with it.
pub(super) fn of(file: &mut File) -> io::Result<Option<CompressionType>> {
    let found = find(file);
    file.rewind()?;
    match found {
        Err(error)
            if error.kind() != io::ErrorKind::UnexpectedEof
                && error.kind() != io::ErrorKind::InvalidInput =>
        {
            Err(error)
        }
        found => Ok(found.ok().flatten()),
    }
}

fn find(file: &mut File) -> io::Result<Option<CompressionType>> {
    file.seek(SeekFrom::End(-TAIL))?;
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = i64::from(i32::from_le_bytes(length));
    file.seek(SeekFrom::End(-TAIL - length.max(0)))?;
    let footer = read(file, length)?;
    let Ok(footer) = root_as_footer(&footer) else { return Ok(None) };
    let blocks = || footer.recordBatches().into_iter().chain(footer.dictionaries()).flatten();
    let size = file.metadata()?.len();
    if !blocks().all(|block| is_within(block, size)) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its footer names places outside the file"));
    }
    let Some(block) = footer.recordBatches().and_then(|blocks| blocks.iter().next().copied()) else {
        return Ok(None);
    };
    file.seek(SeekFrom::Start(block.offset().max(0).cast_unsigned()))?;
    let header = read(file, block.metaDataLength().into())?;
    // since version 0.15, a marker is before the length of the message
    let start = if header.starts_with(&[0xff; 4]) { 8 } else { 4 };
    let message = header.get(start..).and_then(|message| root_as_message(message).ok());
    let batch = message.and_then(|message| message.header_as_record_batch());
    Ok(batch.and_then(|batch| batch.compression()).map(|compression| compression.codec()))
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
