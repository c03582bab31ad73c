//! Creating and joining segments: the bare system calls, and Tombolo on top.

use std::time::{Duration, Instant};

use tombolo::sys::Key;
use tombolo::sys::shm::{AttachOptions, Shm};
use tombolo::{Options, Segment};

use crate::failure::Failure;
use crate::harness::{Object, Report, Setting, Shared, Subject, Task, Times};
use crate::terms::now;

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    let mut all: Vec<Box<dyn Subject>> = Vec::new();
    for prefault in [false, true] {
        for (make, raw) in [(true, true), (true, false), (false, true), (false, false)] {
            all.push(Box::new(Attach { make, raw, prefault }));
        }
    }
    all
}

/// How often at least, however long it takes.
const LEAST: u64 = 3;

/// Makes a segment, or joins one, of as many bytes as the setting has slots.
struct Attach {
    make: bool,
    raw: bool,
    prefault: bool,
}

fn unusable<E: std::fmt::Display>(error: E) -> Failure {
    Failure::unusable("cannot have the segment", error)
}

impl Attach {
    fn options(&self, setting: &Setting) -> Options {
        Segment::options().size(setting.slots).no_reserve(true).prefault(self.prefault)
    }

    fn create(setting: &Setting) -> Result<Shm, Failure> {
        Shm::options().no_reserve(true).create(Key::PRIVATE, setting.slots).map_err(unusable)
    }

    /// Does it once; says how many nanoseconds that took, without what it
    /// takes to undo it.
    fn once(&self, setting: &Setting, id: i32) -> Result<u64, Failure> {
        let prefault = AttachOptions { prefault: self.prefault, ..AttachOptions::default() };
        let began = now();
        if self.raw {
            let shm = if self.make { Self::create(setting)? } else { Shm::from_id(id) };
            let memory = shm.attach_with(prefault);
            let took = now() - began;
            if self.make {
                shm.remove().map_err(unusable)?;
            }
            return memory.map(|_| took).map_err(unusable);
        }
        let segment = if self.make {
            self.options(setting).anonymous()
        } else {
            self.options(setting).open_id(id)
        };
        let took = now() - began;
        segment.map(|_| took).map_err(unusable)
    }
}

impl Subject for Attach {
    fn name(&self) -> String {
        let what = match (self.raw, self.make) {
            (true, true) => "shmget, shmat",
            (true, false) => "shmat",
            (false, true) => "tombolo, create",
            (false, false) => "tombolo, open",
        };
        if self.prefault { format!("{what}, prefault") } else { what.to_owned() }
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        let mut shared = Shared::default();
        if self.make {
            return Ok(shared);
        }
        // The object to join, with its pages in memory if they are to be touched.
        if self.raw {
            let shm = Self::create(setting)?;
            let options = AttachOptions { prefault: self.prefault, ..AttachOptions::default() };
            let memory = shm.attach_with(options);
            shm.remove().map_err(unusable)?;
            shared.numbers.push(i64::from(shm.id()));
            shared.held.push(Box::new(memory.map_err(unusable)?));
        } else {
            let segment = self.options(setting).anonymous().map_err(unusable)?;
            shared.numbers.push(i64::from(segment.id()));
            shared.objects.push(Object::Segment(segment.id()));
            shared.held.push(Box::new(segment));
        }
        Ok(shared)
    }

    fn work(&self, task: &Task<'_>) -> Result<Report, Failure> {
        let id = task.shared.numbers.first().and_then(|&id| i32::try_from(id).ok());
        let id = id.unwrap_or(-1);
        // The first time is slow in itself.
        self.once(task.setting, id)?;
        let mut times = Times::new()?;
        let until = Instant::now() + Duration::from_nanos(task.setting.span);
        let began = now();
        while times.count() < LEAST || Instant::now() < until {
            times.record(self.once(task.setting, id)?);
        }
        Ok(Report { began, ended: now(), times: times.listed(), ..Report::default() })
    }
}
