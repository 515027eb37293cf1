//! Turns what sqlx knows about a column's type into our own type tree.
//!
//! sqlx looks a statement's types up in the catalog while it prepares it, and its types cannot leave this
//! room. Dropped columns of a composite are left out by that look-up (`NOT attisdropped`) just as Postgres
//! leaves them out of the binary form, so fields and values line up.
//!
//! The look-up is cached by connection. A type that is altered afterwards is noticed by its values: the
//! decoder compares the number of fields and each field's OID with what it was compiled for.
//!
//! Multiranges never come here: sqlx 0.9 fails to prepare a statement that gives one (`unknown type code 109`).

use std::sync::Arc;

use sqlx::TypeInfo;
use sqlx::postgres::{PgTypeInfo, PgTypeKind};

use crate::ground::row::{PgField, PgKind, PgType};

/// What sqlx calls a type that it could not look up; to ask such a type for its kind would panic.
const UNRESOLVED: &str = "?";

/// `int2vector` and `oidvector`: in the catalog they look like arrays, but no client library reads them so.
const VECTORS: [u32; 2] = [22, 30];

/// Resolves a column's type down to its built-in parts.
///
/// A type that sqlx could not find in the catalog becomes [`PgKind::Other`], which every format refuses, with
/// its OID in the name.
pub fn resolve(info: &PgTypeInfo) -> PgType {
    let oid = info.oid().map_or(0, |oid| oid.0);
    if info.name() == UNRESOLVED {
        return PgType { oid, name: format!("type with OID {oid}"), kind: PgKind::Other };
    }
    let kind = match info.kind() {
        PgTypeKind::Array(_) if VECTORS.contains(&oid) => PgKind::Base,
        PgTypeKind::Simple => PgKind::Base,
        PgTypeKind::Enum(_) => PgKind::Enum,
        PgTypeKind::Domain(base) => PgKind::Domain(Arc::new(resolve(base))),
        PgTypeKind::Array(element) => PgKind::Array(Arc::new(resolve(element))),
        PgTypeKind::Composite(fields) => PgKind::Composite(
            fields.iter().map(|(name, ty)| PgField { name: name.clone(), ty: Arc::new(resolve(ty)) }).collect(),
        ),
        PgTypeKind::Range(_) | PgTypeKind::Pseudo => PgKind::Other,
    };
    PgType { oid, name: name(info), kind }
}

/// The type's name as `format_type` prints it. sqlx keeps that for types it looked up, and upper-case short
/// names for those it knows by heart.
fn name(info: &PgTypeInfo) -> String {
    match info.name().strip_suffix("[]") {
        Some(element) => format!("{}[]", long_name(element)),
        None => long_name(info.name()),
    }
}

/// Only the names that differ from their lower-case short form; custom names come through as they are.
fn long_name(short: &str) -> String {
    let long = match short {
        "BOOL" => "boolean",
        "\"CHAR\"" => "\"char\"",
        "CHAR" => "character",
        "VARCHAR" => "character varying",
        "INT2" => "smallint",
        "INT4" => "integer",
        "INT8" => "bigint",
        "FLOAT4" => "real",
        "FLOAT8" => "double precision",
        "TIMESTAMP" => "timestamp without time zone",
        "TIMESTAMPTZ" => "timestamp with time zone",
        "TIME" => "time without time zone",
        "TIMETZ" => "time with time zone",
        "VARBIT" => "bit varying",
        other => {
            // An unquoted name from the catalog has no capitals, so this touches sqlx's own names only.
            let built_in = other.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
            return if built_in { other.to_ascii_lowercase() } else { other.to_owned() };
        }
    };
    long.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Type;

    #[test]
    fn built_in_types_have_the_names_that_format_type_prints() {
        let name = |oid| {
            // sqlx resolves built-in OIDs only behind its own doors; these go through the public ones.
            match oid {
                23 => resolve(&<i32 as Type<sqlx::Postgres>>::type_info()),
                1009 => resolve(&<Vec<String> as Type<sqlx::Postgres>>::type_info()),
                _ => resolve(&PgTypeInfo::with_oid(sqlx::postgres::types::Oid(oid))),
            }
        };
        assert_eq!(name(23).name, "integer");
        assert_eq!(name(1009).name, "text[]");
        assert!(matches!(name(1009).kind, PgKind::Array(element) if element.oid == 25));
    }

    #[test]
    fn a_type_that_sqlx_could_not_look_up_is_refused_not_a_panic() {
        let ty = resolve(&PgTypeInfo::with_oid(sqlx::postgres::types::Oid(99_999)));
        assert_eq!((ty.oid, ty.name.as_str(), ty.kind), (99_999, "type with OID 99999", PgKind::Other));
    }
}
