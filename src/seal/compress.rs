//! Compression: each value is one frame of a standard format, as its own tools read it, with the content's size where the format has a place for it.

use std::io::{self, Read, Write};

use flate2::GzBuilder;
use flate2::bufread::GzDecoder;
use lz4_flex::frame::{BlockMode, FrameDecoder, FrameEncoder, FrameInfo};
use zstd::bulk::Compressor as Zstd;

use super::error::OpenError;
use crate::ground::sealing::{Compress, Compression};

/// What the formats' own tools take if nobody says otherwise.
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 6;
/// gzip's name for a file system that nobody knows: else the bytes would depend on the machine.
const UNKNOWN: u8 = 255;

/// The bytes that each format begins with.
const MAGIC: [(&[u8], Compression); 3] = [
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
    (&[0x04, 0x22, 0x4d, 0x18], Compression::Lz4),
    (&[0x1f, 0x8b], Compression::Gzip),
];

/// The format that a value is compressed in, by its first bytes.
pub(super) fn format_of(value: &[u8]) -> Option<Compression> {
    MAGIC.iter().find(|(magic, _)| value.starts_with(magic)).map(|(_, format)| *format)
}

/// Compresses one value after the other.
pub(super) struct Compressor {
    above: usize,
    with: With,
}

/// Zstandard's tables are large, and so they are used again.
enum With {
    Zstd(Zstd<'static>),
    Lz4,
    Gzip,
}

impl Compressor {
    /// A compressor that does what a job asks for.
    ///
    /// # Errors
    /// What Zstandard says; in practice that there is no memory.
    pub(super) fn new(compress: Compress) -> io::Result<Self> {
        let with = match compress.with {
            Compression::Zstd => With::Zstd(Zstd::new(ZSTD_LEVEL)?),
            Compression::Lz4 => With::Lz4,
            Compression::Gzip => With::Gzip,
        };
        Ok(Compressor { above: compress.above, with })
    }

    /// Puts the compressed value into `out`, which is empty, and says whether to use it: not if the value is short, or would not become shorter.
    ///
    /// # Errors
    /// What the compressor says.
    pub(super) fn run(&mut self, value: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        if value.len() <= self.above {
            return Ok(false);
        }
        match &mut self.with {
            With::Zstd(zstd) => {
                out.reserve(zstd::zstd_safe::compress_bound(value.len()));
                zstd.compress_to_buffer(value, out)?;
            }
            With::Lz4 => {
                let info = FrameInfo::new().block_mode(BlockMode::Independent).content_size(Some(value.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(info, &mut *out);
                encoder.write_all(value)?;
                encoder.finish().map_err(io::Error::other)?;
            }
            With::Gzip => {
                let head = GzBuilder::new().mtime(0).operating_system(UNKNOWN);
                let mut encoder = head.write(&mut *out, flate2::Compression::new(GZIP_LEVEL));
                encoder.write_all(value)?;
                encoder.finish()?;
            }
        }
        Ok(out.len() < value.len())
    }
}

/// The content of a compressed value, if it is no longer than `limit`.
///
/// # Errors
/// Damage, a frame that does not end where the value does, or a content that is longer: no more than the limit is ever held.
pub(super) fn decompress(format: Compression, value: &[u8], limit: usize) -> Result<Vec<u8>, OpenError> {
    let read = match format {
        Compression::Zstd => zstd(value, limit),
        Compression::Lz4 => lz4(value, limit),
        Compression::Gzip => {
            let mut decoder = GzDecoder::new(value);
            read(&mut decoder, limit).map(|content| (content, decoder.into_inner()))
        }
    };
    let (content, rest) = read.map_err(|error| OpenError::Compressed(error.to_string()))?;
    match content {
        _ if content.len() > limit => Err(OpenError::TooLarge),
        _ if !rest.is_empty() => Err(OpenError::Compressed("something stands behind the frame".to_owned())),
        content => Ok(content),
    }
}

/// The content of a frame, and what stands behind it.
type Frame<'v> = (Vec<u8>, &'v [u8]);

fn zstd(value: &[u8], limit: usize) -> io::Result<Frame<'_>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(value)?.single_frame();
    let content = read(&mut decoder, limit)?;
    Ok((content, decoder.finish()))
}

/// The decoder takes the end of the input for that of the frame.
fn lz4(value: &[u8], limit: usize) -> io::Result<Frame<'_>> {
    let end = end_of_lz4(value).ok_or(io::ErrorKind::UnexpectedEof)?;
    let (frame, rest) = value.split_at_checked(end).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((read(&mut FrameDecoder::new(frame), limit)?, rest))
}

/// Where an LZ4 frame ends (LZ4 Frame Format Description): its head, blocks behind their lengths, a length of 0, and a checksum if the head says so.
fn end_of_lz4(value: &[u8]) -> Option<usize> {
    let flags = *value.get(4)?;
    let has = |bit: u8, bytes: usize| if flags & bit == 0 { 0 } else { bytes };
    // Magic, flags, block size and the head's checksum; content size and dictionary are optional.
    let mut at = 4 + 1 + 1 + 1 + has(0x08, 8) + has(0x01, 4);
    loop {
        let length = u32::from_le_bytes(*value.get(at..)?.first_chunk()?);
        at += 4;
        if length == 0 {
            return Some(at + has(0x04, 4));
        }
        // The highest bit says that a block is not compressed.
        at = at.checked_add((length & 0x7fff_ffff) as usize + has(0x10, 4))?;
    }
}

fn read(from: &mut impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    from.take((limit as u64).saturating_add(1)).read_to_end(&mut content)?;
    Ok(content)
}
