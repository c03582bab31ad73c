//! `ipc-channel`: its channel of bytes, which avoids serializing. A one-shot
//! server, whose name is left in a file, sets it up.

use std::fs;
use std::hint::spin_loop;
use std::ops::Range;

use ipc_channel::TryRecvError;
use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel,
};

use super::files::{named, path, until};
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx};
use crate::versions::version;

pub(crate) const IPC_CHANNEL: &str = concat!("ipc-channel ", version!("ipc_channel"));

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(IpcChannel)]
}

struct IpcChannel;

struct Bytes {
    receiver: IpcBytesReceiver,
    polled: bool,
}

fn cannot<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::broken(format!("cannot {what}"), error)
}

impl Mechanism for IpcChannel {
    type Tx<const W: usize> = IpcBytesSender;
    type Rx<const W: usize> = Bytes;

    fn name(&self) -> String {
        IPC_CHANNEL.to_owned()
    }

    fn prepare(&self, _: &Setting) -> Result<Shared, Failure> {
        Ok(named())
    }

    /// Makes the channel and hands its other end over.
    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<IpcBytesSender, Failure> {
        let path = path(shared, channel);
        let server = until("find the server", || fs::read_to_string(&path))?;
        let (sender, receiver) = bytes_channel().map_err(cannot("make a channel"))?;
        let server = IpcSender::connect(server).map_err(cannot("connect"))?;
        server.send(receiver).map_err(cannot("hand the receiver over"))?;
        Ok(sender)
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<Bytes, Failure> {
        let (server, name) =
            IpcOneShotServer::<IpcBytesReceiver>::new().map_err(cannot("make a server"))?;
        // It shall be there with all that is in it.
        let unfinished = path(shared, format!("{channel}-unfinished"));
        fs::write(&unfinished, name)
            .and_then(|()| fs::rename(&unfinished, path(shared, channel)))
            .map_err(cannot("leave the server's name"))?;
        let (_, receiver) = server.accept().map_err(cannot("accept"))?;
        Ok(Bytes { receiver, polled: setting.polled() })
    }
}

impl<const W: usize> Tx<W> for IpcBytesSender {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let message = [number; W];
            let bytes = bytemuck::cast_slice(&message);
            IpcBytesSender::send(self, bytes).map_err(cannot("send"))?;
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for Bytes {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let bytes = if self.polled {
            loop {
                match self.receiver.try_recv() {
                    Ok(bytes) => break bytes,
                    Err(TryRecvError::Empty) => spin_loop(),
                    Err(error) => return Err(cannot("receive")(error)),
                }
            }
        } else {
            self.receiver.recv().map_err(cannot("receive"))?
        };
        // A vector of bytes need not be aligned.
        let mut message = [0; W];
        if bytes.len() != size_of::<Message<W>>() {
            return Err(Failure::Broken(format!("a message of {} bytes", bytes.len())));
        }
        bytemuck::cast_slice_mut(&mut message).copy_from_slice(&bytes);
        see(&message);
        Ok(1)
    }
}
