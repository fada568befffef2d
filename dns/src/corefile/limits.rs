//! How much a Corefile may ask of its reader. All are far above what people write.

/// The biggest file, in bytes; all files that are read together may have four times as much.
pub const MAX_FILE: usize = 16 << 20;

/// Words in one file, and words after all imports.
pub const MAX_WORDS: usize = 1 << 20;

/// Bytes of all words after imports and environment.
pub const MAX_TEXT: usize = 64 << 20;

/// Imports of snippets and files together; CoreDNS has the same bound for snippets.
pub const MAX_IMPORTS: usize = 10_000;

/// Imports within imports.
pub const MAX_IMPORT_DEPTH: usize = 100;

/// Blocks within blocks of one directive. No plugin of CoreDNS nests any.
pub const MAX_NESTING: usize = 32;

/// Environment variables put into one word, those in values of others counted.
pub const MAX_SUBSTITUTIONS: usize = 100;

/// Bytes of one word after its environment variables are put in.
pub const MAX_WORD: usize = 1 << 20;
