//! An enum without fields as a message, or as a field of one.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::{DataEnum, DeriveInput, Error, Fields, Result};

use crate::layout::{in_place, refuse, reprs};

const INTEGERS: [&str; 8] = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"];

pub(crate) fn derive(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let name = &input.ident;
    let reprs = reprs(input)?;
    let Some(repr) = reprs.iter().find(|repr| INTEGERS.contains(&repr.to_string().as_str())) else {
        return refuse(
            input,
            format!(
                "the integer that `{name}` is sent as is not fixed: write #[repr(u8)] above it"
            ),
        );
    };
    if in_place(input)? {
        return refuse(input, format!("`{name}` can have some bits, and not any bits"));
    }
    if data.variants.is_empty() {
        return refuse(input, format!("`{name}` has no value to send: give it a variant"));
    }
    if let Some(variant) =
        data.variants.iter().find(|variant| !matches!(variant.fields, Fields::Unit))
    {
        return Err(Error::new_spanned(
            variant,
            "variants of a message cannot have fields: send a struct, or bytes that you serialize \
             yourself",
        ));
    }
    let begin = format!("{}:{repr}{{", name.unraw());
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let texts = variants.iter().map(|variant| variant.unraw().to_string());
    Ok(quote! {
        impl ::tombolo::Message for #name {
            const SCHEMA: &'static str = {
                const TEXT: &private::Schema = &private::Schema::new(#begin)
                    #(.value(#texts, #name::#variants as i128))*
                    .end();
                TEXT.as_str()
            };
        }

        const _: () = private::same_size(
            ::core::mem::size_of::<#name>(),
            ::core::mem::size_of::<#repr>(),
        );
        // SAFETY: it is its integer, and of the same size.
        unsafe impl private::bytemuck::NoUninit for #name {}
        // SAFETY: it has its integer's layout; the integers found valid are
        // those of its variants.
        unsafe impl private::bytemuck::CheckedBitPattern for #name {
            type Bits = #repr;

            #[inline]
            fn is_valid_bit_pattern(bits: &#repr) -> bool {
                #(*bits == #name::#variants as #repr)||*
            }
        }
    })
}
