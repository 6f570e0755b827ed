//! Rows: one schema, whatever was measured, and sums that agree.

mod common;

use std::io::Cursor;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{RecordBatch, StructArray};
use arrow_ipc::reader::StreamReader;
use common::{measured, plan};
use measure::{row, schema, to_ipc};

fn row_of(fields: &str) -> RecordBatch {
    row(&plan(fields), 3, 17, Ok(&measured(fields)))
}

fn number(row: &RecordBatch, column: &str) -> Option<u64> {
    let column = row.column_by_name(column).unwrap_or_else(|| panic!("no column {column}"));
    column.as_primitive::<UInt64Type>().iter().next().unwrap()
}

fn list(row: &RecordBatch, column: &str) -> StructArray {
    row.column_by_name(column).unwrap().as_list::<i32>().value(0).as_struct().clone()
}

fn sum(list: &StructArray, column: &str) -> u64 {
    list.column_by_name(column).unwrap().as_primitive::<UInt64Type>().iter().flatten().sum()
}

#[test]
fn every_row_has_the_columns_of_the_schema() {
    let schema = schema();
    assert_eq!((schema.num_rows(), schema.schema().metadata()["pyworkbench.measurement"].as_str()), (0, "2"));
    assert!(schema.schema().fields().iter().all(|field| field.is_nullable()));
    for fields in ["", r#""counters": "off""#, r#""ops_per_thread": 0, "populate": "all", "during": "age""#] {
        assert_eq!(row_of(fields).schema(), schema.schema(), "{fields}");
    }
    let failed = row(&plan(""), 0, 0, Err("no memory"));
    assert_eq!(failed.schema(), schema.schema());
    assert_eq!(failed.column_by_name("status").unwrap().as_string::<i32>().value(0), "failed");
    assert_eq!(failed.column_by_name("error").unwrap().as_string::<i32>().value(0), "no memory");
}

#[test]
fn a_row_survives_the_way_to_python() {
    let row = row_of(r#""threads": 2"#);
    let read = StreamReader::try_new(Cursor::new(to_ipc(&row)), None).unwrap();
    assert_eq!(read.map(Result::unwrap).collect::<Vec<_>>(), [row]);
    let mut empty = StreamReader::try_new(Cursor::new(to_ipc(&schema())), None).unwrap();
    assert_eq!(empty.schema(), schema().schema());
    assert!(empty.next().is_none());
}

#[test]
fn classes_sites_and_holds_sum_up_to_the_row() {
    let row =
        row_of(r#""threads": 2, "mix": "fault=8 age=1 unmap=1", "ops_per_thread": 4000, "op_bytes": 65536"#);
    let of = |column| number(&row, column).unwrap();
    assert_eq!(sum(&list(&row, "classes"), "count"), of("ops"));
    let lock = of("read_acquisitions") + of("write_acquisitions");
    assert_eq!(sum(&list(&row, "sites"), "acquisitions"), lock);
    assert_eq!(sum(&list(&row, "holds"), "count"), lock);
    assert!(of("longest_hold_ns") <= of("teardown_ns"));
    assert!(of("op_longest_hold_ns") >= of("read_hold_max_ns"));
}

#[test]
fn rows_have_counts_where_counts_were_asked_and_times_where_times_were() {
    let filled = |counters: &str, column| number(&row_of(&format!("\"counters\": \"{counters}\"")), column);
    assert_eq!(filled("off", "read_acquisitions"), None);
    assert_eq!(filled("counts", "read_acquisitions"), Some(2048));
    assert_eq!(filled("counts", "write_hold_ns"), None);
    assert_eq!(filled("counts", "op_longest_hold_ns"), None);
    assert!(filled("times", "write_hold_ns") > Some(0));
    assert!(filled("off", "teardown_ns") > Some(0), "the teardown is always timed");
}
