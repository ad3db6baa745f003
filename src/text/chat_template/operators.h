// What operators do to values: arithmetic with Python's rules, membership, subscripts, slices. Integers have 64 bits;
// more is an error, never a wrong number.
#pragma once

#include "text/chat_template/ast.h"
#include "text/chat_template/value.h"

namespace lathe::text {

Value apply_unary(ast::UnaryOp op, const Value& operand);
Value apply_binary(ast::BinaryOp op, const Value& left, const Value& right, Meter& meter);
bool apply_compare(ast::CompareOp op, const Value& left, const Value& right, Meter& meter);

bool contains(const Value& container, const Value& item, Meter& meter);

// object[index], undefined when there is none. Fails on undefined objects.
Value subscript(const Value& object, const Value& index, Meter& meter);
// Null bounds are left out.
Value slice(const Value& object, const Value& start, const Value& stop, const Value& step, Meter& meter);

}  // namespace lathe::text
