// What the fields of particular encoder families change; rows of encoder_families.cc name these functions. Each throws
// Error(unsupported) that names a field whose value Lathe does not know how to compute with.
#pragma once

#include "checkpoint/encoder_families.h"

namespace lathe::checkpoint {

void expect_full_attention(const Fields& fields, EncoderConfig& config);
void read_mpnet(const Fields& fields, EncoderConfig& config);
void read_deberta(const Fields& fields, EncoderConfig& config);
void read_deberta_v2(const Fields& fields, EncoderConfig& config);
void read_modernbert(const Fields& fields, EncoderConfig& config);
void read_eurobert(const Fields& fields, EncoderConfig& config);
void read_nomic_bert(const Fields& fields, EncoderConfig& config);

}  // namespace lathe::checkpoint
