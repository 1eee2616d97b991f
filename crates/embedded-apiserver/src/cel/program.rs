//! Expressions: parsing (shared between schemas that write the same rule) and evaluation.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Weak};

use kube_cel::KubeCelExt;
use kube_cel::cel::common::ast::{EntryExpr, Expr, operators};
use kube_cel::cel::objects::OptionalValue;
use kube_cel::cel::parser::Parser;
use kube_cel::cel::{Context, ExecutionError, IdedExpr, Value};
use parking_lot::Mutex;

/// A parsed CEL expression.
pub(super) struct Expression {
    parsed: IdedExpr,
    pub(super) uses_old_self: bool,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression")
            .field("uses_old_self", &self.uses_old_self)
            .finish_non_exhaustive()
    }
}

/// The same rules stand in many schemas (versions, templates, a thousand simulated servers); parsing is the dear part.
static PARSED: LazyLock<Mutex<HashMap<String, Weak<Expression>>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The functions of the Kubernetes CEL environment; building the table is dear, and it cannot be shared between threads.
    static ENVIRONMENT: Context<'static> = environment();
}

/// Names of types, as `type(x) == int` compares them.
const TYPES: [&str; 9] = [
    "int",
    "uint",
    "double",
    "bool",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
];

fn environment() -> Context<'static> {
    let mut context = Context::default().with_all();
    context.add_function("type", |value: Value| {
        let name = match value.type_of().to_string().as_str() {
            "float" => "double".to_owned(),
            "null" => "null_type".to_owned(),
            other => other.to_owned(),
        };
        Arc::new(name)
    });
    for name in TYPES {
        context.add_variable_from_value(name, Value::String(Arc::new(name.to_owned())));
    }
    context
}

/// What a rule may refer to.
pub(super) struct Variables {
    pub(super) self_: Value,
    pub(super) old_self: OldSelf,
}

/// The old value as rules see it.
#[derive(Clone)]
pub(super) enum OldSelf {
    /// The rule cannot refer to it.
    Undefined,
    /// As it was.
    Plain(Value),
    /// As an optional (`optionalOldSelf`).
    Optional(Option<Value>),
}

impl Expression {
    /// Parses an expression; the error is the parser's text.
    pub(super) fn parse(source: &str) -> Result<Arc<Self>, String> {
        if let Some(known) = PARSED.lock().get(source).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let mut expression = guarded(|| {
            let parser = Parser::new().enable_optional_syntax(true);
            parser.parse(source).map_err(|errors| errors.to_string())
        })?;
        select_by_index(&mut expression);
        let uses_old_self = expression.references().has_variable("oldSelf");
        let parsed = Arc::new(Self {
            parsed: expression,
            uses_old_self,
        });
        let mut cache = PARSED.lock();
        if cache.len() > 4096 {
            cache.retain(|_, weak| weak.strong_count() > 0);
        }
        cache.insert(source.to_owned(), Arc::downgrade(&parsed));
        Ok(parsed)
    }

    /// Evaluates; the error is worded as cel-go words it.
    pub(super) fn evaluate(&self, variables: &Variables) -> Result<Value, String> {
        ENVIRONMENT.with(|environment| {
            let mut scope = environment.new_inner_scope();
            scope.add_variable_from_value("self", variables.self_.clone());
            match &variables.old_self {
                OldSelf::Undefined => {}
                OldSelf::Plain(value) => scope.add_variable_from_value("oldSelf", value.clone()),
                OldSelf::Optional(value) => {
                    let optional = value.clone().map_or_else(OptionalValue::none, OptionalValue::of);
                    scope.add_variable_from_value("oldSelf", Value::Opaque(Arc::new(optional)));
                }
            }
            guarded(|| Value::resolve(&self.parsed, &scope).map_err(|error| error_text(&error)))
        })
    }
}

impl Expression {
    /// Evaluates with variables of other names than `self`.
    pub(super) fn evaluate_over(&self, variables: &[(&str, Value)]) -> Result<Value, String> {
        ENVIRONMENT.with(|environment| {
            let mut scope = environment.new_inner_scope();
            for (name, value) in variables {
                scope.add_variable_from_value(*name, value.clone());
            }
            guarded(|| Value::resolve(&self.parsed, &scope).map_err(|error| error_text(&error)))
        })
    }
}

/// Parser and interpreter assert what odd expressions may break; a rule must not take the server down.
fn guarded<T>(call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err("the expression cannot be evaluated".to_owned()))
}

/// Turns `a.?b` into `a[?"b"]`: the interpreter makes an error of a missing field in the first form, and nothing in the second.
fn select_by_index(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Call(call) => {
            if call.func_name == operators::OPT_SELECT {
                call.func_name = operators::OPT_INDEX.to_owned();
            }
            call.target.iter_mut().for_each(|target| select_by_index(target));
            call.args.iter_mut().for_each(select_by_index);
        }
        Expr::Comprehension(c) => {
            for part in [
                &mut c.iter_range,
                &mut c.accu_init,
                &mut c.loop_cond,
                &mut c.loop_step,
                &mut c.result,
            ] {
                select_by_index(part);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(select_by_index),
        Expr::Select(select) => select_by_index(&mut select.operand),
        Expr::Map(map) => map.entries.iter_mut().for_each(|e| select_in_entry(&mut e.expr)),
        Expr::Struct(struct_) => struct_
            .entries
            .iter_mut()
            .for_each(|e| select_in_entry(&mut e.expr)),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn select_in_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => select_by_index(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            select_by_index(&mut entry.key);
            select_by_index(&mut entry.value);
        }
    }
}

/// Calls a one-argument function of the environment, such as `timestamp("...")`.
pub(super) fn convert(function: &str, text: &str) -> Option<Value> {
    let source = format!("{function}(self)");
    let expression = Expression::parse(&source).ok()?;
    let self_ = Value::String(Arc::new(text.to_owned()));
    expression
        .evaluate(&Variables {
            self_,
            old_self: OldSelf::Undefined,
        })
        .ok()
}

fn error_text(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::NoSuchOverload
        | ExecutionError::ValuesNotComparable(..)
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::UnsupportedUnaryOperator(..)
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedTargetType { .. } => "no such overload".to_owned(),
        ExecutionError::IndexOutOfBounds(Value::Int(i)) => format!("index out of bounds: {i}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::FunctionError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}
