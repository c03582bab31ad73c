//! What a participant needs to send jointly.

use super::participant::Participant;
use crate::error::ChannelError;
use crate::storage::layout::JOINT_SENDS;
use crate::sync::{AtomicU64, Ordering};

impl Participant {
    /// The word that says what this process has committed.
    pub(crate) fn committed(&self) -> &AtomicU64 {
        &self.mapped.info(self.me.id).committed
    }

    /// Makes sure that everybody in the segment, and whoever is to join it, can sweep a
    /// process that dies over a joint send.
    pub(crate) fn allow_joint_sends(&self) -> Result<(), ChannelError> {
        if let Some(fault) = self.barred() {
            return Err(fault.into());
        }
        let kinds = &self.mapped.memory.header().kinds;
        if kinds.load(Ordering::Relaxed) & JOINT_SENDS != 0 {
            return Ok(());
        }
        self.exclusively(|mapped| {
            let info = |id| mapped.info(id);
            let knows = |id| info(id).kinds.load(Ordering::Relaxed) & JOINT_SENDS != 0;
            match mapped.living().find(|member| !knows(member.id)) {
                None => {
                    kinds.fetch_or(JOINT_SENDS, Ordering::Relaxed);
                    Ok(())
                }
                Some(member) => Err(ChannelError::EarlierBuild {
                    segment: mapped.name.clone(),
                    pid: info(member.id).pid.load(Ordering::Relaxed),
                }),
            }
        })
    }
}
