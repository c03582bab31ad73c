//! A parent and a child with a pipe in each direction, whose ends no other process
//! has.
//!
//! `cargo run --example pipe`
//!
//! The child is told the numbers of its two descriptors. When the parent closes
//! its end, or ends in any way, the child reads the end of the file; and the other
//! way round.

#![allow(unsafe_code)]

use std::env;
use std::error::Error;
use std::process::Command;

use tombolo::sys::pipe::{self, Reader, Writer};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    if let [_, input, output] = &arguments[..] {
        return square(input.parse()?, output.parse()?);
    }
    let (childs_input, questions) = pipe::pair()?;
    let (answers, childs_output) = pipe::pair()?;
    println!("room for {} bytes each way", questions.capacity()?);

    let mut command = Command::new(env::current_exe()?);
    for end in [childs_input.into(), childs_output.into()] {
        let end: std::os::fd::OwnedFd = end;
        let number = pipe::hand_over(end, &mut command)?;
        command.arg(number.to_string());
    }
    let mut child = command.spawn()?;
    // It holds the child's ends open, too.
    drop(command);

    for number in 1..=5_u64 {
        questions.write_record(&number.to_ne_bytes())?;
    }
    drop(questions);
    let mut record = [0; 8];
    while answers.read_record(&mut record)? {
        println!("the child says {}", u64::from_ne_bytes(record));
    }
    println!("the child has ended: {}", child.wait()?);
    Ok(())
}

fn square(input: i32, output: i32) -> Result<(), Box<dyn Error>> {
    // SAFETY: the parent handed over this descriptor, and only this takes it.
    let questions = unsafe { Reader::inherited(input) }?;
    // SAFETY: as above.
    let answers = unsafe { Writer::inherited(output) }?;
    let mut record = [0; 8];
    while questions.read_record(&mut record)? {
        let number = u64::from_ne_bytes(record);
        answers.write_record(&(number * number).to_ne_bytes())?;
    }
    Ok(())
}
