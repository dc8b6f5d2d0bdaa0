use embosk::Role;
use fastembed::EmbeddingModel;

const BGE: &str = "Represent this sentence for searching relevant passages: ";
const BGE_CHINESE: &str = "为这个句子生成表示以用于检索相关文章：";

/// What stands before documents and queries. By default, nothing does.
///
/// ```
/// use embosk_fastembed::Prompts;
/// use fastembed::EmbeddingModel;
///
/// assert_eq!(Prompts::of(&EmbeddingModel::MultilingualE5Small), Some(Prompts::new("passage: ", "query: ")));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Prompts {
    document: String,
    query: String,
}

impl Prompts {
    /// Creates prompts for documents and queries.
    pub fn new(document: impl Into<String>, query: impl Into<String>) -> Self {
        Self { document: document.into(), query: query.into() }
    }

    /// Returns the prompts that a model of fastembed's list was trained with, as its card describes them. They are empty
    /// if it was trained without, and `None` if fastembed has added the model since this crate was written.
    pub fn of(model: &EmbeddingModel) -> Option<Self> {
        use EmbeddingModel as Model;
        Some(match model {
            Model::AllMiniLML6V2
            | Model::AllMiniLML6V2Q
            | Model::AllMiniLML12V2
            | Model::AllMiniLML12V2Q
            | Model::AllMpnetBaseV2
            | Model::ParaphraseMLMiniLML12V2
            | Model::ParaphraseMLMiniLML12V2Q
            | Model::ParaphraseMLMpnetBaseV2
            | Model::BGEM3
            | Model::GTEBaseENV15
            | Model::GTEBaseENV15Q
            | Model::GTELargeENV15
            | Model::GTELargeENV15Q
            | Model::JinaEmbeddingsV2BaseCode
            | Model::JinaEmbeddingsV2BaseEN
            | Model::ClipVitB32 => Self::default(),
            Model::MultilingualE5Small | Model::MultilingualE5Base | Model::MultilingualE5Large => {
                Self::new("passage: ", "query: ")
            }
            Model::BGESmallENV15
            | Model::BGESmallENV15Q
            | Model::BGEBaseENV15
            | Model::BGEBaseENV15Q
            | Model::BGELargeENV15
            | Model::BGELargeENV15Q
            | Model::MxbaiEmbedLargeV1
            | Model::MxbaiEmbedLargeV1Q
            | Model::SnowflakeArcticEmbedXS
            | Model::SnowflakeArcticEmbedXSQ
            | Model::SnowflakeArcticEmbedS
            | Model::SnowflakeArcticEmbedSQ
            | Model::SnowflakeArcticEmbedM
            | Model::SnowflakeArcticEmbedMQ
            | Model::SnowflakeArcticEmbedMLong
            | Model::SnowflakeArcticEmbedMLongQ
            | Model::SnowflakeArcticEmbedL
            | Model::SnowflakeArcticEmbedLQ => Self::new("", BGE),
            Model::BGESmallZHV15 | Model::BGELargeZHV15 => Self::new("", BGE_CHINESE),
            Model::NomicEmbedTextV1
            | Model::NomicEmbedTextV15
            | Model::NomicEmbedTextV15Q
            | Model::ModernBertEmbedLarge => Self::new("search_document: ", "search_query: "),
            Model::EmbeddingGemma300M | Model::EmbeddingGemma300MQ | Model::EmbeddingGemma300MQ4 => {
                Self::new("title: none | text: ", "task: search result | query: ")
            }
            #[allow(unreachable_patterns, reason = "fastembed adds models in minor versions")]
            _ => return None,
        })
    }

    pub(crate) fn of_role(&self, role: Role) -> &str {
        match role {
            Role::Document => &self.document,
            Role::Query => &self.query,
        }
    }

    pub(crate) fn differ(&self) -> bool {
        self.document != self.query
    }
}
