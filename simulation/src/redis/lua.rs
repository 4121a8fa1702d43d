//! The server: a keyspace, and the real scripts in a real Lua 5.1 beside it.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeSet;
use std::rc::Rc;

use hashbrown::HashMap;
use mlua::{Function, Lua, MultiValue, Table, Value};
use sha1::{Digest, Sha1};

use super::keyspace::{Bytes, Keyspace, number};
use super::{Reply, message_pack, syntax};

/// A Redis. Scripts are compiled once for its lifetime, whatever its script cache says.
pub struct Server {
    keyspace: Rc<RefCell<Keyspace>>,
    lua: Lua,
    compiled: RefCell<HashMap<String, Function>>,
    loaded: RefCell<BTreeSet<String>>,
}

impl Server {
    /// An empty one.
    ///
    /// # Errors
    /// When Lua cannot be set up.
    pub fn new() -> mlua::Result<Self> {
        let (lua, keyspace) = (Lua::new(), Rc::new(RefCell::new(Keyspace::default())));
        let redis = lua.create_table()?;
        redis.set("call", bridge(&lua, &keyspace, |error| Err(mlua::Error::runtime(error)))?)?;
        let caught = lua.clone();
        let pcall = bridge(&lua, &keyspace, move |error| {
            let table = caught.create_table()?;
            table.set("err", error)?;
            Ok(Value::Table(table))
        })?;
        redis.set("pcall", pcall)?;
        lua.globals().set("redis", redis)?;
        let message_pack = lua.create_table()?;
        message_pack.set("unpack_limit", lua.create_function(message_pack::unpack_limit)?)?;
        lua.globals().set("cmsgpack", message_pack)?;
        Ok(Self { keyspace, lua, compiled: RefCell::default(), loaded: RefCell::default() })
    }

    /// The keys. Not while a command runs.
    #[must_use]
    pub fn keyspace(&self) -> RefMut<'_, Keyspace> {
        self.keyspace.borrow_mut()
    }

    /// Runs one command.
    pub fn run(&self, args: &[Bytes]) -> Reply {
        match args.first().map(Vec::as_slice) {
            Some(b"EVALSHA") => self.evalsha(&args[1..]),
            Some(b"EVAL") => self.eval(&args[1..]),
            Some(b"SCRIPT") => self.script(&args[1..]),
            _ => self.keyspace().run(args),
        }
    }

    /// The name under which a script is cached.
    #[must_use]
    pub fn sha(text: &str) -> String {
        Sha1::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// `SCRIPT LOAD text` or `SCRIPT FLUSH`.
    fn script(&self, args: &[Bytes]) -> Reply {
        match args {
            [load, text] if load == b"LOAD" => {
                let text = String::from_utf8_lossy(text);
                let sha = Self::sha(&text);
                if !self.compiled.borrow().contains_key(&sha) {
                    match self.lua.load(text.as_ref()).into_function() {
                        Ok(function) => drop(self.compiled.borrow_mut().insert(sha.clone(), function)),
                        Err(error) => return Reply::Error(format!("ERR compiling the script: {error}")),
                    }
                }
                self.loaded.borrow_mut().insert(sha.clone());
                Reply::bulk(sha)
            }
            [flush] if flush == b"FLUSH" => {
                self.loaded.borrow_mut().clear();
                Reply::Status("OK")
            }
            _ => syntax(),
        }
    }

    fn eval(&self, args: &[Bytes]) -> Reply {
        let Some((text, rest)) = args.split_first() else { return syntax() };
        match self.script(&[b"LOAD".to_vec(), text.clone()]) {
            Reply::Bulk(sha) => self.evalsha(&[&[sha], rest].concat()),
            error => error,
        }
    }

    fn evalsha(&self, args: &[Bytes]) -> Reply {
        let [sha, count, rest @ ..] = args else { return syntax() };
        let sha = String::from_utf8_lossy(sha);
        if !self.loaded.borrow().contains(sha.as_ref()) {
            return Reply::Error("NOSCRIPT No matching script. Please use EVAL.".into());
        }
        let function = self.compiled.borrow().get(sha.as_ref()).cloned();
        let count = number(count).ok().and_then(|count| usize::try_from(count).ok());
        let (Some(function), Some(count)) = (function, count.filter(|count| *count <= rest.len())) else {
            return syntax();
        };
        let (keys, argv) = rest.split_at(count);
        self.call(&function, keys, argv).unwrap_or_else(|error| Reply::Error(format!("ERR {error}")))
    }

    fn call(&self, function: &Function, keys: &[Bytes], argv: &[Bytes]) -> mlua::Result<Reply> {
        let globals = self.lua.globals();
        globals.raw_set("KEYS", strings(&self.lua, keys)?)?;
        globals.raw_set("ARGV", strings(&self.lua, argv)?)?;
        from_lua(function.call::<Value>(())?)
    }
}

fn strings(lua: &Lua, words: &[Bytes]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(words.len(), 0)?;
    for (index, word) in words.iter().enumerate() {
        table.raw_set(index + 1, lua.create_string(word)?)?;
    }
    Ok(table)
}

fn bridge(
    lua: &Lua,
    keyspace: &Rc<RefCell<Keyspace>>,
    on_error: impl Fn(String) -> mlua::Result<Value> + 'static,
) -> mlua::Result<Function> {
    let keyspace = keyspace.clone();
    lua.create_function(move |lua, args: MultiValue| {
        let args = args.iter().map(argument).collect::<mlua::Result<Vec<Bytes>>>()?;
        let reply = keyspace.borrow_mut().run(&args);
        match reply {
            Reply::Error(error) => on_error(error),
            reply => to_lua(lua, reply),
        }
    })
}

/// A script's numbers reach Redis as text.
fn argument(value: &Value) -> mlua::Result<Bytes> {
    match value {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(number) => Ok(number.to_string().into_bytes()),
        Value::Number(number) => Ok(number.to_string().into_bytes()),
        _ => Err(mlua::Error::runtime("Lua redis lib command arguments must be strings or integers")),
    }
}

fn to_lua(lua: &Lua, reply: Reply) -> mlua::Result<Value> {
    Ok(match reply {
        Reply::Nil => Value::Boolean(false),
        #[expect(clippy::cast_precision_loss, reason = "Redis loses it, too")]
        Reply::Int(number) => Value::Number(number as f64),
        Reply::Bulk(text) => Value::String(lua.create_string(text)?),
        Reply::Status(text) => {
            let table = lua.create_table()?;
            table.set("ok", text)?;
            Value::Table(table)
        }
        Reply::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (index, item) in items.into_iter().enumerate() {
                table.raw_set(index + 1, to_lua(lua, item)?)?;
            }
            Value::Table(table)
        }
        Reply::Error(error) => return Err(mlua::Error::runtime(error)),
    })
}

fn from_lua(value: Value) -> mlua::Result<Reply> {
    Ok(match value {
        Value::String(text) => Reply::Bulk(text.as_bytes().to_vec()),
        Value::Integer(number) => Reply::Int(number),
        #[expect(clippy::cast_possible_truncation, reason = "Redis cuts fractions off, too")]
        Value::Number(number) => Reply::Int(number as i64),
        Value::Boolean(true) => Reply::Int(1),
        Value::Table(table) => match table.raw_get::<Option<String>>("err")? {
            Some(error) => Reply::Error(error),
            None => Reply::Array(
                table.sequence_values().map(|item| from_lua(item?)).collect::<mlua::Result<_>>()?,
            ),
        },
        _ => Reply::Nil,
    })
}
