#![allow(clippy::unwrap_used)]

use arrow_array::{Float32Array, LargeListArray, ListArray};
use half::f16;

use super::*;

fn field(kind: DataType) -> Schema {
    Schema::new(vec![Field::new("id", DataType::Utf8, false), Field::new("embedding", kind, true)])
}

fn item(kind: DataType) -> FieldRef {
    Arc::new(Field::new("item", kind, true))
}

fn column(array: &dyn Array) -> VectorColumn {
    VectorColumn::find(&field(array.data_type().clone()), "embedding").unwrap()
}

fn sparse() -> Vec<Option<Vec<Option<f32>>>> {
    vec![Some(vec![Some(1.0), Some(2.0)]), None, Some(vec![Some(3.0), Some(-4.5)])]
}

#[test]
fn every_kind_of_list_comes_out_as_it_went_in() {
    let arrays: [ArrayRef; 5] = [
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(sparse())),
        Arc::new(LargeListArray::from_iter_primitive::<Float32Type, _, _>(sparse())),
        Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(sparse(), 2)),
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(
            sparse()
                .into_iter()
                .map(|row| row.map(|row| row.into_iter().map(|x| x.map(f64::from)).collect::<Vec<_>>())),
        )),
        Arc::new(FixedSizeListArray::from_iter_primitive::<Float16Type, _, _>(
            sparse()
                .into_iter()
                .map(|row| row.map(|row| row.into_iter().map(|x| x.map(f16::from_f32)).collect::<Vec<_>>())),
            2,
        )),
    ];
    for array in arrays {
        let mut column = column(&array);
        let batch = column.read(&array, 10).unwrap();
        assert_eq!(batch.vectors, ndarray::array![[1.0, 2.0], [3.0, -4.5]]);
        assert_eq!(batch.rows, [10, 12]);
        let again = column.write(&batch.vectors, &array).unwrap();
        assert_eq!(again.as_ref(), array.as_ref());
        // a slice begins within the values
        let slice = array.slice(1, 2);
        let batch = column.read(&slice, 11).unwrap();
        assert_eq!((batch.vectors, batch.rows), (ndarray::array![[3.0, -4.5]], vec![12]));
        // another dimension
        let wide = column.write(&ndarray::array![[1.0, 2.0, 3.0], [0.0; 3]], &array).unwrap();
        assert_eq!(wide.data_type(), column.changed_field(3).data_type());
        assert_eq!((wide.len(), wide.null_count()), (3, 1));
    }
}

#[test]
fn what_is_not_a_vector_is_refused_with_row_and_column() {
    let read = |rows: Vec<Option<Vec<Option<f32>>>>| {
        let array = ListArray::from_iter_primitive::<Float32Type, _, _>(rows);
        column(&array).read(&array, 5).map(drop).unwrap_err()
    };
    let one = || Some(vec![Some(1.0), Some(0.0)]);
    for (rows, message) in [
        (
            vec![one(), Some(vec![Some(1.0)])],
            "row 6 (counted from 0), column \"embedding\": its vector has 1 coordinates, those before it have 2",
        ),
        (
            vec![one(), one(), Some(vec![Some(1.0), None])],
            "row 7 (counted from 0), column \"embedding\": coordinate 1 is null; give each vector all its coordinates, or none at all",
        ),
        (vec![Some(vec![Some(f32::NAN), None])], "coordinate 1 is null"),
        (
            vec![None, Some(vec![Some(f32::NAN), Some(1.0)])],
            "row 6 (counted from 0), column \"embedding\": coordinate 0 is NaN",
        ),
        (vec![Some(vec![Some(1.0), Some(f32::INFINITY)])], "coordinate 1 is NaN, an infinity"),
        (vec![Some(vec![])], "its vector has no coordinates"),
    ] {
        let found = read(rows);
        assert!(found.contains(message), "{found} has no {message}");
    }
    let array = Float32Array::from(vec![1.0]);
    let refused = VectorColumn::find(&field(array.data_type().clone()), "embedding").unwrap_err();
    assert!(refused.starts_with("column \"embedding\" is Float32, and vectors are lists"), "{refused}");
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    assert!(VectorColumn::find(&field(dictionary), "embedding").unwrap_err().contains("Dictionary"));
    let texts = DataType::List(item(DataType::Utf8));
    assert!(VectorColumn::find(&field(texts), "embedding").unwrap_err().contains("Utf8"));
    let missing = VectorColumn::find(&field(DataType::Utf8), "vector").unwrap_err();
    assert_eq!(missing, "there is no column \"vector\"; the columns are \"id\", \"embedding\"");
}

#[test]
fn float16_does_not_become_infinite() {
    let values = vec![Some(vec![Some(f16::from_f32(1.0))])];
    let array = FixedSizeListArray::from_iter_primitive::<Float16Type, _, _>(values, 1);
    let refused = column(&array).write(&ndarray::array![[70000.0]], &array).unwrap_err();
    assert!(refused.contains("too large for float16"), "{refused}");
}
