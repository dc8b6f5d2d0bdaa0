//! What the slots of a sentence draw from.
//!
//! The order of a list is part of the data format: a change changes the records of every seed.

/// A drug, its usual doses, and what it is given for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drug {
    pub(super) name: &'static str,
    pub(super) doses: &'static [&'static str],
    pub(super) treats: &'static [&'static str],
}

const fn drug(name: &'static str, doses: &'static [&'static str], treats: &'static [&'static str]) -> Drug {
    Drug { name, doses, treats }
}

#[rustfmt::skip]
pub(super) const FIRST_NAMES: &[&str] = &[
    "Aaron", "Adam", "Aisha", "Alice", "Amanda", "Amir", "Amy", "Ana", "Andrea", "Andrew",
    "Angela", "Anita", "Anna", "Anthony", "Antonio", "Barbara", "Benjamin", "Beth", "Brian", "Bruce",
    "Carla", "Carlos", "Carol", "Caroline", "Catherine", "Charles", "Chen", "Claire", "Daniel", "David",
    "Deborah", "Dennis", "Diana", "Diego", "Donna", "Edward", "Elena", "Elizabeth", "Emily", "Emma",
    "Eric", "Eva", "Fatima", "Felix", "Frank", "Gary", "George", "Grace", "Hannah", "Harold",
    "Hassan", "Helen", "Henry", "Ibrahim", "Irene", "Ivan", "Jack", "James", "Jamal", "Jane",
    "Jason", "Jennifer", "Jessica", "Joan", "John", "Jose", "Joseph", "Julia", "Karen", "Karim",
    "Keith", "Kenji", "Kevin", "Kumar", "Laura", "Leila", "Leo", "Linda", "Lisa", "Lucas",
    "Lucy", "Luis", "Margaret", "Maria", "Mark", "Martin", "Mary", "Maya", "Mei", "Michael",
    "Miguel", "Mohammed", "Monica", "Nadia", "Nancy", "Nicole", "Nina", "Nora", "Olga", "Oliver",
    "Omar", "Oscar", "Pablo", "Patricia", "Paul", "Peter", "Priya", "Rachel", "Ravi", "Richard",
    "Robert", "Rosa", "Ruth", "Samuel", "Sandra", "Sarah", "Simon", "Sofia", "Steven", "Susan",
    "Thomas", "Tina", "Victor", "William", "Yuki", "Zoe",
];

#[rustfmt::skip]
pub(super) const LAST_NAMES: &[&str] = &[
    "Adams", "Ahmed", "Ali", "Allen", "Alvarez", "Anderson", "Bailey", "Baker", "Barnes", "Bauer",
    "Becker", "Bell", "Bennett", "Brooks", "Brown", "Bryant", "Burke", "Butler", "Campbell", "Carter",
    "Castillo", "Chang", "Chavez", "Clark", "Coleman", "Collins", "Cook", "Cooper", "Costa", "Cox",
    "Cruz", "Das", "Davies", "Davis", "Delgado", "Diaz", "Dixon", "Edwards", "Ellis", "Evans",
    "Fernandez", "Ferrari", "Fischer", "Fisher", "Flores", "Ford", "Foster", "Fox", "Freeman", "Garcia",
    "Gibson", "Gomez", "Gonzalez", "Graham", "Gray", "Green", "Griffin", "Gupta", "Hall", "Hamilton",
    "Hansen", "Harris", "Harrison", "Hayes", "Hernandez", "Hill", "Hoffman", "Holmes", "Howard", "Hughes",
    "Hunt", "Hussain", "Ivanov", "Jenkins", "Jensen", "Johnson", "Jones", "Kaplan", "Kaur", "Kelly",
    "Kennedy", "Khan", "Kim", "King", "Klein", "Larsen", "Lee", "Lewis", "Long", "Lopez",
    "Marino", "Martinez", "Mason", "Mendoza", "Meyer", "Miller", "Mitchell", "Moore", "Morales", "Morgan",
    "Morris", "Mueller", "Murphy", "Murray", "Myers", "Nelson", "Nguyen", "Novak", "Ortiz", "Owens",
    "Park", "Parker", "Patel", "Perez", "Perry", "Peterson", "Phillips", "Popov", "Porter", "Powell",
    "Price", "Quinn", "Ramirez", "Reed", "Reyes", "Reynolds", "Rivera", "Roberts", "Robinson", "Rogers",
    "Romero", "Rossi", "Russell", "Ryan", "Sanchez", "Sanders", "Sato", "Schmidt", "Scott", "Shah",
    "Sharma", "Silva", "Simmons", "Singh", "Smith", "Stewart", "Stone", "Sullivan", "Tanaka", "Taylor",
    "Thompson", "Torres", "Turner", "Vargas", "Wagner", "Walker", "Wang", "Ward", "Watson", "Weber",
    "White", "Williams", "Wilson", "Wong", "Wood", "Wright", "Yang", "Young", "Zhang", "Zimmerman",
];

#[rustfmt::skip]
pub(super) const PLACES: &[&str] = &[
    "Albany", "Amsterdam", "Atlanta", "Baltimore", "Berlin", "Boise", "Boston", "Bristol", "Buffalo", "Calgary",
    "Charlotte", "Chicago", "Cincinnati", "Cleveland", "Columbus", "Copenhagen", "Dallas", "Dayton", "Denver", "Detroit",
    "Dublin", "Edinburgh", "Fresno", "Glasgow", "Houston", "Indianapolis", "Kansas City", "Las Vegas", "Leeds", "Lisbon",
    "London", "Los Angeles", "Louisville", "Madrid", "Manchester", "Melbourne", "Memphis", "Miami", "Milwaukee", "Minneapolis",
    "Montreal", "Nashville", "New Orleans", "Oakland", "Omaha", "Orlando", "Ottawa", "Philadelphia", "Phoenix", "Pittsburgh",
    "Portland", "Richmond", "Sacramento", "San Diego", "Seattle", "St. Louis", "Sydney", "Tampa", "Toronto", "Tucson",
    "Tulsa", "Vancouver",
];

#[rustfmt::skip]
pub(super) const EMPLOYERS: &[&str] = &[
    "Acorn Publishing", "Alder Insurance", "Anchor Shipping", "Apex Motors", "Beacon Energy", "Birch Hotels",
    "Bluebird Airlines", "Bright Dental", "Cascade Software", "Cedar Foods", "Cobalt Mining", "Compass Travel",
    "Copper Electric", "Coral Cosmetics", "Crescent Bank", "Crown Bakery", "Delta Plastics", "Diamond Security",
    "Eagle Construction", "Eastgate Hospital", "Emerald Gardens", "Falcon Freight", "Fairview Schools", "Frontier Telecom",
    "Garnet Pharma", "Golden Farms", "Granite Builders", "Harbor Logistics", "Hazel Coffee", "Horizon Media",
    "Iron Steelworks", "Jasper Jewelers", "Juniper Design", "Keystone Law", "Lakeside Clinic", "Lantern Books",
    "Liberty Trucking", "Lotus Spa", "Magnolia Textiles", "Maple Furniture", "Meridian Consulting", "Northwind Power",
    "Oak Realty", "Ocean Fisheries", "Orchid Fashion", "Pacific Robotics", "Pearl Restaurants", "Pine Lumber",
    "Pioneer Railways", "Quartz Electronics", "Redwood Brewery", "River Water Company", "Saffron Catering", "Sapphire Games",
    "Silver Cinemas", "Stellar Aerospace", "Summit Sports", "Sunrise Solar", "Tiger Tires", "Union Glass",
    "Valley Dairy", "Willow Nursing",
];

#[rustfmt::skip]
pub(super) const DIAGNOSES: &[&str] = &[
    "acid reflux", "acne", "alcoholism", "anemia", "anxiety", "appendicitis", "asthma", "atrial fibrillation",
    "back pain", "bipolar disorder", "breast cancer", "bronchitis", "celiac disease", "chronic fatigue",
    "colon cancer", "dementia", "depression", "eczema", "epilepsy", "fibromyalgia", "gallstones", "glaucoma",
    "gout", "hearing loss", "heart failure", "hepatitis", "high blood pressure", "high cholesterol", "HIV",
    "hypothyroidism", "insomnia", "kidney disease", "kidney stones", "leukemia", "lung cancer", "lupus",
    "Lyme disease", "malaria", "migraine", "multiple sclerosis", "osteoporosis", "panic attacks",
    "Parkinson's disease", "pneumonia", "prostate cancer", "psoriasis", "PTSD", "rheumatoid arthritis",
    "schizophrenia", "shingles", "sinusitis", "sleep apnea", "tuberculosis", "type 2 diabetes", "ulcerative colitis",
];

#[rustfmt::skip]
pub(super) const DRUGS: &[Drug] = &[
    drug("acyclovir", &["200 mg", "400 mg"], &["shingles"]),
    drug("albuterol", &["2 mg", "4 mg"], &["asthma", "bronchitis"]),
    drug("alendronate", &["5 mg", "10 mg"], &["osteoporosis"]),
    drug("allopurinol", &["100 mg", "300 mg"], &["gout"]),
    drug("amlodipine", &["5 mg", "10 mg"], &["high blood pressure"]),
    drug("amoxicillin", &["250 mg", "500 mg"], &["bronchitis", "pneumonia", "sinusitis"]),
    drug("apixaban", &["5 mg", "10 mg"], &["atrial fibrillation"]),
    drug("atorvastatin", &["10 mg", "20 mg", "40 mg"], &["high cholesterol"]),
    drug("azithromycin", &["250 mg", "500 mg"], &["bronchitis", "Lyme disease", "pneumonia"]),
    drug("bupropion", &["100 mg", "150 mg"], &["depression"]),
    drug("carvedilol", &["25 mg", "50 mg"], &["heart failure", "high blood pressure"]),
    drug("clonazepam", &["1 mg", "2 mg"], &["epilepsy", "panic attacks"]),
    drug("donepezil", &["5 mg", "10 mg"], &["dementia"]),
    drug("doxycycline", &["50 mg", "100 mg"], &["acne", "Lyme disease", "malaria"]),
    drug("duloxetine", &["20 mg", "40 mg"], &["back pain", "depression", "fibromyalgia"]),
    drug("escitalopram", &["10 mg", "20 mg"], &["anxiety", "depression"]),
    drug("fluoxetine", &["10 mg", "20 mg", "40 mg"], &["depression", "panic attacks"]),
    drug("furosemide", &["20 mg", "40 mg"], &["heart failure", "kidney disease"]),
    drug("gabapentin", &["100 mg", "300 mg"], &["back pain", "epilepsy", "shingles"]),
    drug("hydroxychloroquine", &["200 mg", "400 mg"], &["lupus", "malaria", "rheumatoid arthritis"]),
    drug("ibuprofen", &["200 mg", "400 mg"], &["back pain", "migraine"]),
    drug("imatinib", &["100 mg", "400 mg"], &["leukemia"]),
    drug("insulin", &["10 units", "20 units"], &["type 2 diabetes"]),
    drug("isoniazid", &["100 mg", "300 mg"], &["tuberculosis"]),
    drug("lamotrigine", &["25 mg", "100 mg"], &["bipolar disorder", "epilepsy"]),
    drug("levodopa", &["100 mg", "250 mg"], &["Parkinson's disease"]),
    drug("levothyroxine", &["25 mcg", "50 mcg", "75 mcg"], &["hypothyroidism"]),
    drug("lisinopril", &["5 mg", "10 mg", "20 mg"], &["heart failure", "high blood pressure"]),
    drug("lithium", &["150 mg", "300 mg"], &["bipolar disorder"]),
    drug("losartan", &["25 mg", "50 mg", "100 mg"], &["high blood pressure", "kidney disease"]),
    drug("melatonin", &["5 mg", "10 mg"], &["insomnia"]),
    drug("metformin", &["500 mg", "850 mg"], &["type 2 diabetes"]),
    drug("methotrexate", &["10 mg", "25 mg"], &["psoriasis", "rheumatoid arthritis"]),
    drug("metoprolol", &["25 mg", "50 mg", "100 mg"], &["atrial fibrillation", "high blood pressure"]),
    drug("montelukast", &["5 mg", "10 mg"], &["asthma"]),
    drug("naltrexone", &["25 mg", "50 mg"], &["alcoholism"]),
    drug("naproxen", &["250 mg", "500 mg"], &["back pain", "gout", "migraine"]),
    drug("omeprazole", &["10 mg", "20 mg", "40 mg"], &["acid reflux"]),
    drug("pantoprazole", &["20 mg", "40 mg"], &["acid reflux"]),
    drug("prednisone", &["5 mg", "10 mg", "20 mg"], &["asthma", "eczema", "lupus", "ulcerative colitis"]),
    drug("quetiapine", &["50 mg", "100 mg"], &["bipolar disorder", "schizophrenia"]),
    drug("risperidone", &["2 mg", "4 mg"], &["schizophrenia"]),
    drug("rosuvastatin", &["10 mg", "20 mg"], &["high cholesterol"]),
    drug("sertraline", &["25 mg", "50 mg", "100 mg"], &["anxiety", "depression", "PTSD"]),
    drug("sumatriptan", &["25 mg", "50 mg"], &["migraine"]),
    drug("tamoxifen", &["10 mg", "20 mg"], &["breast cancer"]),
    drug("topiramate", &["25 mg", "50 mg"], &["epilepsy", "migraine"]),
    drug("tramadol", &["50 mg", "100 mg"], &["back pain", "fibromyalgia"]),
    drug("trazodone", &["50 mg", "100 mg"], &["depression", "insomnia"]),
    drug("warfarin", &["5 mg", "10 mg"], &["atrial fibrillation"]),
    drug("zolpidem", &["5 mg", "10 mg"], &["insomnia"]),
];

#[rustfmt::skip]
pub(super) const ROLES: &[&str] = &[
    "branch manager", "cashier", "chef", "cleaner", "data analyst", "designer", "driver", "gardener", "lawyer",
    "mechanic", "nurse", "painter", "pilot", "project manager", "receptionist", "sales manager",
    "security guard", "software developer", "supervisor", "teacher", "technician", "translator", "warehouse worker",
    "welder",
];

#[rustfmt::skip]
pub(super) const PRODUCTS: &[&str] = &[
    "bicycle", "blender", "camera", "coffee maker", "dishwasher", "dress", "guitar", "hair dryer", "headset",
    "keyboard", "lamp", "laptop", "mattress", "microwave", "phone", "printer", "refrigerator", "router",
    "sewing machine", "smart watch", "sofa", "tablet", "television", "tent", "vacuum cleaner", "washing machine",
];

#[rustfmt::skip]
pub(super) const COURSES: &[&str] = &[
    "algebra", "biology", "chemistry", "dance", "drama", "English", "French", "geography", "history", "Japanese",
    "law", "marketing", "music", "nursing", "philosophy", "photography", "physics", "programming", "psychology",
    "sociology", "Spanish", "statistics",
];

/// Each month and its last day.
#[rustfmt::skip]
pub(super) const MONTHS: &[(&str, usize)] = &[
    ("January", 31), ("February", 28), ("March", 31), ("April", 30), ("May", 31), ("June", 30),
    ("July", 31), ("August", 31), ("September", 30), ("October", 31), ("November", 30), ("December", 31),
];
