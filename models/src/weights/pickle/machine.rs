//! A pickle's opcodes, read as data (PEP 307 and 3154, and `torch.save` since 1.6).

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// The deepest nesting of tuples; a tensor needs three.
const DEEPEST: u8 = 16;
/// The most axes of a tensor.
const MOST_AXES: usize = 8;

/// Where a tensor's numbers are: a window of a storage, which others may share.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) storage: Rc<Storage>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) stride: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Storage {
    pub(super) kind: Rc<str>,
    pub(super) key: Rc<str>,
}

/// What a pickle's stack holds. Values are shared and shallow, so that a pickle of a few bytes cannot grow large or
/// deep.
#[derive(Debug, Clone)]
enum Value {
    Mark,
    Int(i64),
    Text(Rc<str>),
    /// A class or function, by module and name.
    Global(Rc<str>, Rc<str>),
    Tuple(Rc<[Value]>, u8),
    /// A dictionary, by its place among the machine's.
    Dictionary(usize),
    Storage(Rc<Storage>),
    Tensor(Rc<Entry>),
    /// Anything that no tensor is made of.
    Other,
}

pub(super) type Dictionary = BTreeMap<Rc<str>, Rc<Entry>>;

/// Reads the opcodes of a pickle.
#[derive(Default)]
pub(super) struct Machine {
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    dictionaries: Vec<Dictionary>,
}

impl Machine {
    pub(super) fn run(mut self, pickle: &[u8]) -> Result<Dictionary, String> {
        let mut rest = Bytes(pickle);
        loop {
            let opcode = rest.byte()?;
            if opcode == b'.' {
                break;
            }
            self.step(opcode, &mut rest)?;
        }
        let Some(Value::Dictionary(place)) = self.stack.pop() else {
            return Err("it holds no dictionary of tensors (a state dict)".into());
        };
        let dictionary = std::mem::take(&mut self.dictionaries[place]);
        if dictionary.is_empty() {
            return Err("its dictionary holds no tensor (it is no state dict)".into());
        }
        Ok(dictionary)
    }

    fn step(&mut self, opcode: u8, rest: &mut Bytes<'_>) -> Result<(), String> {
        match opcode {
            // protocol and frames
            0x80 => drop(rest.byte()?),
            0x95 => drop(rest.take(8)?),
            b'(' => self.stack.push(Value::Mark),
            b'N' | 0x88 | 0x89 | b']' => self.stack.push(Value::Other),
            b'G' => {
                rest.take(8)?;
                self.stack.push(Value::Other);
            }
            b'K' => self.int(rest, 1)?,
            b'M' => self.int(rest, 2)?,
            b'J' => {
                let value = rest.number(4)? as u32;
                self.stack.push(Value::Int(i64::from(value.cast_signed())));
            }
            0x8a => {
                let length = rest.byte()?;
                self.int(rest, usize::from(length))?;
            }
            b'X' => self.text(rest, 4)?,
            0x8c => self.text(rest, 1)?,
            b'c' => {
                let (module, name) = (rest.line()?, rest.line()?);
                self.stack.push(Value::Global(module.into(), name.into()));
            }
            0x93 => self.global()?,
            b'}' => self.dictionary(),
            b')' => self.tuple(0)?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let length = self.since_mark()?;
                self.tuple(length)?;
                let tuple = self.pop()?;
                self.pop()?;
                self.stack.push(tuple);
            }
            // an item of a list, or attributes of what stands below, such as a state dict's metadata
            b'a' | b'b' => drop(self.pop()?),
            b'e' => self.forget_to_mark()?,
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&key, value);
            }
            b'u' => self.set_items()?,
            b'q' => self.remember(rest.number(1)? as u32)?,
            b'r' => self.remember(rest.number(4)? as u32)?,
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => self.recall(rest.number(1)? as u32)?,
            b'j' => self.recall(rest.number(4)? as u32)?,
            b'Q' => self.storage()?,
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let made = self.call(&callable, &arguments)?;
                self.stack.push(made);
            }
            other => {
                return Err(format!("its dictionary has an opcode that no state dict has ({other:#04x})"));
            }
        }
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| "its dictionary is damaged".into())
    }

    fn int(&mut self, rest: &mut Bytes<'_>, bytes: usize) -> Result<(), String> {
        // the numbers that count are sizes, which are never negative and have less than 64 bits
        let value = if bytes > 8 { rest.take(bytes).map(|_| None)? } else { Some(rest.number(bytes)?) };
        let value = value.and_then(|value| i64::try_from(value).ok());
        self.stack.push(value.map_or(Value::Other, Value::Int));
        Ok(())
    }

    fn text(&mut self, rest: &mut Bytes<'_>, bytes: usize) -> Result<(), String> {
        let length = rest.number(bytes)? as usize;
        let text = String::from_utf8_lossy(rest.take(length)?).into_owned();
        self.stack.push(Value::Text(text.into()));
        Ok(())
    }

    fn global(&mut self) -> Result<(), String> {
        let value = match (self.pop()?, self.pop()?) {
            (Value::Text(name), Value::Text(module)) => Value::Global(module, name),
            _ => Value::Other,
        };
        self.stack.push(value);
        Ok(())
    }

    fn dictionary(&mut self) {
        self.stack.push(Value::Dictionary(self.dictionaries.len()));
        self.dictionaries.push(Dictionary::new());
    }

    fn tuple(&mut self, length: usize) -> Result<(), String> {
        let start = self.stack.len().checked_sub(length).ok_or("its dictionary is damaged")?;
        let values: Vec<Value> = self.stack.split_off(start);
        let depths = values.iter().map(|value| if let Value::Tuple(_, depth) = value { *depth } else { 0 });
        let depth = 1 + depths.max().unwrap_or(0);
        self.stack.push(if depth > DEEPEST { Value::Other } else { Value::Tuple(values.into(), depth) });
        Ok(())
    }

    fn since_mark(&self) -> Result<usize, String> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark));
        mark.map(|mark| self.stack.len() - mark - 1).ok_or_else(|| "its dictionary is damaged".into())
    }

    fn forget_to_mark(&mut self) -> Result<(), String> {
        let length = self.since_mark()?;
        self.stack.truncate(self.stack.len() - length - 1);
        Ok(())
    }

    fn set_items(&mut self) -> Result<(), String> {
        let length = self.since_mark()?;
        let items = self.stack.split_off(self.stack.len() - length);
        self.pop()?;
        for pair in items.chunks_exact(2) {
            self.set(&pair[0], pair[1].clone());
        }
        Ok(())
    }

    /// Only tensors under names are kept.
    fn set(&mut self, key: &Value, value: Value) {
        let Some(Value::Dictionary(place)) = self.stack.last() else { return };
        if let (Value::Text(name), Value::Tensor(entry)) = (key, value) {
            self.dictionaries[*place].insert(Rc::clone(name), entry);
        }
    }

    fn remember(&mut self, place: u32) -> Result<(), String> {
        let top = self.stack.last().cloned().ok_or("its dictionary is damaged")?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<(), String> {
        self.stack.push(self.memo.get(&place).cloned().ok_or("its dictionary is damaged")?);
        Ok(())
    }

    /// `("storage", type, key, device, length)`
    fn storage(&mut self) -> Result<(), String> {
        let value = match self.pop()? {
            Value::Tuple(parts, _) => match &*parts {
                [Value::Text(_), Value::Global(_, kind), Value::Text(key), ..] => {
                    Value::Storage(Storage { kind: Rc::clone(kind), key: Rc::clone(key) }.into())
                }
                _ => Value::Other,
            },
            _ => Value::Other,
        };
        self.stack.push(value);
        Ok(())
    }

    fn call(&mut self, callable: &Value, arguments: &Value) -> Result<Value, String> {
        let (Value::Global(module, name), Value::Tuple(arguments, _)) = (callable, arguments) else {
            return Ok(Value::Other);
        };
        match (&**module, &**name, &**arguments) {
            ("collections", "OrderedDict", _) | ("builtins", "dict", _) => {
                self.dictionary();
                self.pop()
            }
            ("torch._utils", "_rebuild_tensor_v2", [Value::Storage(storage), offset, shape, stride, ..]) => {
                Ok(tensor(storage, offset, shape, stride))
            }
            ("torch._utils", "_rebuild_parameter", [tensor, ..]) => Ok(tensor.clone()),
            (
                "torch._tensor",
                "_rebuild_from_type_v2",
                [function @ Value::Global(_, inner), _, arguments, ..],
            ) if **inner != **name => self.call(function, arguments),
            _ => Ok(Value::Other),
        }
    }
}

fn tensor(storage: &Rc<Storage>, offset: &Value, shape: &Value, stride: &Value) -> Value {
    let number = |value: &Value| match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    let numbers = |value: &Value| match value {
        Value::Tuple(values, _) if values.len() <= MOST_AXES => {
            values.iter().map(number).collect::<Option<Vec<usize>>>()
        }
        _ => None,
    };
    match (number(offset), numbers(shape), numbers(stride)) {
        (Some(offset), Some(shape), Some(stride)) if shape.len() == stride.len() => {
            Value::Tensor(Entry { storage: Rc::clone(storage), offset, shape, stride }.into())
        }
        _ => Value::Other,
    }
}

/// What is left of a pickle.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("its dictionary is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// Reads a little-endian number of `bytes` bytes.
    fn number(&mut self, bytes: usize) -> Result<u64, String> {
        let taken = self.take(bytes)?;
        if bytes > 8 {
            return Err("a number is too large".into());
        }
        Ok(taken.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.0.iter().position(|&byte| byte == b'\n').ok_or("its dictionary is cut off")?;
        let line = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Ok(line)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_state_dict_is_refused() {
        for pickle in [
            &b""[..],
            b".",
            b"\x80\x02}.",
            b"\x80\x02K\x01.",
            b"\x80\x02cos\nsystem\nX\x04\0\0\0echo\x85R.",
            b"\x80\x02]u.",
            b"t",
            b"X\xff\xff\xff\xff",
            b"h\0.",
        ] {
            assert!(Machine::default().run(pickle).is_err(), "{pickle:?}");
        }
    }

    #[test]
    fn deep_and_repeated_tuples_stay_small() {
        let mut pickle = b"\x80\x02)".to_vec();
        pickle.extend([0x85].repeat(1_000_000));
        assert!(Machine::default().run(&pickle).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(pickle in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(b"(}]tRQbuseq.h\x85\x86\x87\x81\x94K".to_vec())], 0..200
        )) {
            let _ = Machine::default().run(&pickle);
        }
    }
}
