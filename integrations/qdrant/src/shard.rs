//! The rows of one space, in a folder of Qdrant's engine.

use std::collections::HashMap;
use std::path::Path;

use embosk_rag::Error;
use embosk_rag::store::{Candidate, Index, Metric, Numbers, Row, Space};
use qdrant_edge::external::serde_json::{Value, json};
use qdrant_edge::external::uuid::Uuid;
use qdrant_edge::{
    AnyVariants, BinaryQuantizationConfig, Condition, CreateIndex, DEFAULT_VECTOR_NAME, Distance, EdgeConfig,
    EdgeOptimizersConfig, EdgeShard, EdgeVectorParams, FieldCondition, FieldIndexOperations, Filter, JsonPath, Match,
    MatchExcept, NamedQuery, OperationError, Payload, PayloadFieldSchema, PayloadSchemaType, PointId,
    PointInsertOperations, PointOperations, PointStruct, QuantizationConfig, QuantizationSearchParams, QueryEnum,
    ScalarQuantizationConfig, ScalarType, ScrollRequest, SearchParams, SearchRequest, UpdateOperation,
    VectorStorageDatatype, VectorStructInternal, WithPayloadInterface, WithVector,
};

use crate::catalog::{decoded, encoded};

/// Kilobytes of vectors from which the engine builds an HNSW index, and quantizes. Smaller collections are compared
/// whole.
const INDEXED_FROM: usize = 1000;
/// Rows that are read together.
const PAGE: usize = 1000;

const SOURCE: &str = "source";
const EXACT: &str = "exact";
const TEXT: &str = "text";

/// The rows of one space.
#[derive(Debug)]
pub(crate) struct Shard {
    engine: EdgeShard,
    index: Index,
}

impl Shard {
    /// Makes an empty one. `indexed_from` is for tests: how many kilobytes of vectors an index takes.
    pub(crate) fn create(folder: &Path, space: &Space, indexed_from: Option<usize>) -> Result<Self, Error> {
        let params = params(space)?;
        std::fs::create_dir_all(folder).map_err(|error| Error::Store(error.into()))?;
        let config = EdgeConfig {
            vectors: HashMap::from([(DEFAULT_VECTOR_NAME.into(), params)]),
            optimizers: EdgeOptimizersConfig {
                indexing_threshold: Some(indexed_from.unwrap_or(INDEXED_FROM)),
                ..EdgeOptimizersConfig::default()
            },
            ..EdgeConfig::default()
        };
        let engine = EdgeShard::new(folder, config).map_err(failed)?;
        let by_source = FieldIndexOperations::CreateIndex(CreateIndex {
            field_name: path(SOURCE)?,
            field_schema: Some(PayloadFieldSchema::FieldType(PayloadSchemaType::Keyword)),
        });
        engine.update(UpdateOperation::FieldIndexOperation(by_source)).map_err(failed)?;
        Ok(Self { engine, index: space.index })
    }

    pub(crate) fn open(folder: &Path, space: &Space) -> Result<Self, Error> {
        let engine = EdgeShard::load(folder, None).map_err(failed)?;
        Ok(Self { engine, index: space.index })
    }

    /// Stores the rows of a source on the disk.
    pub(crate) fn insert(&self, source: &str, rows: &[Row]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let point = |row: &Row| {
            let payload = json!({
                SOURCE: source, EXACT: encoded(&row.exact), TEXT: encoded(&row.text),
            });
            Ok(PointStruct::new(point_id(&row.id)?, row.vector.clone(), payload).into())
        };
        let points = rows.iter().map(point).collect::<Result<Vec<_>, Error>>()?;
        let insertion = PointOperations::UpsertPoints(PointInsertOperations::PointsList(points));
        self.engine.update(UpdateOperation::PointOperation(insertion)).map_err(failed)?;
        self.engine.flush();
        Ok(())
    }

    /// Removes the rows of a source.
    pub(crate) fn remove(&self, source: &str) -> Result<(), Error> {
        self.remove_where(of(source)?)
    }

    /// Removes what no source of the catalog has: rows that were left by a process that was interrupted.
    pub(crate) fn keep(&self, sources: impl Iterator<Item = String>) -> Result<(), Error> {
        let except = MatchExcept { except: AnyVariants::Strings(sources.collect()) };
        let others = FieldCondition::new_match(path(SOURCE)?, Match::Except(except));
        self.remove_where(Filter::new_must(Condition::Field(others)))
    }

    fn remove_where(&self, filter: Filter) -> Result<(), Error> {
        let removal = PointOperations::DeletePointsByFilter(filter);
        self.engine.update(UpdateOperation::PointOperation(removal)).map_err(failed)?;
        self.engine.flush();
        Ok(())
    }

    /// Builds the index, if there is enough to index.
    pub(crate) fn optimize(&self) -> Result<(), Error> {
        self.engine.optimize().map(|_| ()).map_err(failed)
    }

    pub(crate) fn rows(&self, source: &str) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        let mut offset = None;
        loop {
            let page = ScrollRequest {
                offset,
                limit: Some(PAGE),
                filter: Some(of(source)?),
                with_vector: WithVector::Bool(true),
                ..ScrollRequest::default()
            };
            let (points, next) = self.engine.scroll(page).map_err(failed)?;
            for point in points {
                let id = id_of(&point.id);
                let Some(VectorStructInternal::Single(vector)) = point.vector else {
                    return Err(Error::Incomplete { id });
                };
                let payload = point.payload.as_ref();
                rows.push(Row {
                    exact: bytes(payload, EXACT, &id)?,
                    text: bytes(payload, TEXT, &id)?,
                    vector,
                    id,
                });
            }
            offset = next;
            if offset.is_none() {
                return Ok(rows);
            }
        }
    }

    /// The `k` nearest rows of sources for which `is_live` holds.
    pub(crate) fn nearest(
        &self,
        vector: &[f32],
        k: usize,
        is_live: impl Fn(&str) -> bool,
    ) -> Result<Vec<Candidate>, Error> {
        let quantization = QuantizationSearchParams {
            ignore: false,
            // the application orders candidates by exact vectors, so the engine need not
            rescore: Some(false),
            oversampling: None,
        };
        let request = SearchRequest {
            query: QueryEnum::Nearest(NamedQuery::default_dense(vector.to_vec())),
            filter: None,
            params: Some(SearchParams {
                hnsw_ef: Some(k.max(128)),
                quantization: Some(quantization),
                ..SearchParams::default()
            }),
            limit: k,
            offset: 0,
            with_payload: Some(WithPayloadInterface::Fields(vec![path(SOURCE)?, path(EXACT)?])),
            with_vector: None,
            score_threshold: None,
        };
        let found = self.engine.search(request).map_err(failed)?;
        let mut candidates = Vec::with_capacity(found.len());
        for point in found {
            let id = id_of(&point.id);
            let payload = point.payload.as_ref();
            if is_live(&source_of(payload, &id)?) {
                let distance = distance(self.index.metric, point.score);
                candidates.push(Candidate { exact: bytes(payload, EXACT, &id)?, distance, id });
            }
        }
        Ok(candidates)
    }

    /// A row's text and the id of its source.
    pub(crate) fn text(&self, id: &str) -> Result<(Vec<u8>, String), Error> {
        let found = self.engine.retrieve(&[point_id(id)?], None, None).map_err(failed)?;
        let point = found.into_iter().next().ok_or_else(|| Error::Incomplete { id: id.into() })?;
        let payload = point.payload.as_ref();
        Ok((bytes(payload, TEXT, id)?, source_of(payload, id)?))
    }
}

/// How the engine keeps and compares the vectors of a space.
fn params(space: &Space) -> Result<EdgeVectorParams, Error> {
    let distance = match space.index.metric {
        Metric::Cosine => Distance::Cosine,
        Metric::InnerProduct => Distance::Dot,
        Metric::Euclid => Distance::Euclid,
    };
    let (datatype, quantization) = match space.index.numbers {
        Numbers::Float => (VectorStorageDatatype::Float32, None),
        Numbers::Half => (VectorStorageDatatype::Float16, None),
        Numbers::Int8 => (VectorStorageDatatype::Float32, Some(scalar())),
        Numbers::Bit if space.index.metric == Metric::Euclid => {
            return Err(Error::Unsupported {
                store: "Qdrant",
                index: space.index,
                supported: "floats, halves and 8 bits by each metric, and signs by the cosine or the inner product",
            });
        }
        Numbers::Bit => (VectorStorageDatatype::Float32, Some(binary())),
    };
    Ok(EdgeVectorParams {
        size: space.dim,
        distance,
        on_disk: Some(true),
        multivector_config: None,
        datatype: Some(datatype),
        quantization_config: quantization,
        hnsw_config: None,
    })
}

fn scalar() -> QuantizationConfig {
    ScalarQuantizationConfig { r#type: ScalarType::Int8, quantile: None, always_ram: Some(true) }.into()
}

fn binary() -> QuantizationConfig {
    BinaryQuantizationConfig { always_ram: Some(true), encoding: None, query_encoding: None }.into()
}

/// The distance of a score: the engine's are greater for what is nearer, but for Euclid's.
fn distance(metric: Metric, score: f32) -> f64 {
    let score = f64::from(score);
    match metric {
        Metric::Cosine => 1.0 - score,
        Metric::InnerProduct => -score,
        Metric::Euclid => score,
    }
}

fn of(source: &str) -> Result<Filter, Error> {
    let condition = FieldCondition::new_match(path(SOURCE)?, Match::from(source.to_owned()));
    Ok(Filter::new_must(Condition::Field(condition)))
}

fn path(field: &str) -> Result<JsonPath, Error> {
    field.parse().map_err(|()| Error::Spaces)
}

/// Rows have 32 digits of base 16, which are the engine's ids.
fn point_id(id: &str) -> Result<PointId, Error> {
    let id = Uuid::parse_str(id).map_err(|_| Error::Incomplete { id: id.to_owned() })?;
    Ok(PointId::Uuid(id))
}

fn id_of(id: &PointId) -> String {
    match id {
        PointId::Uuid(id) => id.simple().to_string(),
        PointId::NumId(id) => id.to_string(),
    }
}

fn bytes(payload: Option<&Payload>, field: &str, id: &str) -> Result<Vec<u8>, Error> {
    decoded(&string(payload, field, id)?).map_err(|_| Error::Incomplete { id: id.to_owned() })
}

fn source_of(payload: Option<&Payload>, id: &str) -> Result<String, Error> {
    string(payload, SOURCE, id)
}

fn string(payload: Option<&Payload>, field: &str, id: &str) -> Result<String, Error> {
    match payload.and_then(|payload| payload.0.get(field)) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(Error::Incomplete { id: id.to_owned() }),
    }
}

fn failed(error: OperationError) -> Error {
    Error::Store(error.into())
}
