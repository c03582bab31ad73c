//! The attributes of a type that concern its layout: `#[repr(…)]` and
//! `#[message(…)]`.

use proc_macro2::Ident;
use syn::{DeriveInput, Error, Result};

/// The words in `#[repr(…)]`: `C`, `u8` and the like.
pub(crate) fn reprs(input: &DeriveInput) -> Result<Vec<Ident>> {
    let mut reprs = Vec::new();
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            reprs.extend(meta.path.get_ident().cloned());
            if meta.input.peek(syn::token::Paren) {
                // `align(8)`, `packed(2)`: how much, the compiler checks.
                let within;
                syn::parenthesized!(within in meta.input);
                within.parse::<syn::LitInt>()?;
            }
            Ok(())
        })?;
    }
    Ok(reprs)
}

/// Whether `#[message(in_place)]` is there.
pub(crate) fn in_place(input: &DeriveInput) -> Result<bool> {
    let mut said = false;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("message")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("in_place") {
                return Err(meta.error("there is `in_place`, and nothing else"));
            }
            said = true;
            Ok(())
        })?;
    }
    Ok(said)
}

/// An error at the type's name.
pub(crate) fn refuse<T>(input: &DeriveInput, why: impl std::fmt::Display) -> Result<T> {
    Err(Error::new_spanned(&input.ident, why))
}
