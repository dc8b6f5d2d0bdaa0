//! The sentences: for each family, what a record is about and how it is worded.
//!
//! A slot is named in braces; `template` says what each one draws. The tables are part of the data
//! format: a change to them changes the records of every seed.

use super::Family;

/// One sentence shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) family: Family,
    /// What a record of this shape is about, a noun phrase that a query can use.
    pub(super) topic: &'static str,
    pub(super) template: &'static str,
}

/// Every shape, in the order of the tables.
pub(super) fn shapes() -> Vec<Shape> {
    let of = |(family, rows): &(Family, Rows)| {
        let family = *family;
        rows.iter().map(move |&(topic, template)| Shape { family, topic, template })
    };
    TABLES.iter().flat_map(of).collect()
}

type Rows = &'static [(&'static str, &'static str)];

const TABLES: &[(Family, Rows)] = &[
    (Family::Clinical, CLINICAL),
    (Family::Prescription, PRESCRIPTION),
    (Family::Employment, EMPLOYMENT),
    (Family::Finance, FINANCE),
    (Family::Legal, LEGAL),
    (Family::Support, SUPPORT),
    (Family::Travel, TRAVEL),
    (Family::Housing, HOUSING),
    (Family::Insurance, INSURANCE),
    (Family::Education, EDUCATION),
];

#[rustfmt::skip]
const CLINICAL: Rows = &[
    ("new diagnosis", "{person} was diagnosed with {diagnosis} at the {place} clinic on {date}."),
    ("treatment", "{person} of {place} is being treated for {diagnosis} and returns on {day}."),
    ("follow-up visit", "Follow-up visit for {person}: stable {diagnosis}, next appointment on {date}."),
    ("referral", "Dr. {surname} referred {person} to a specialist in {place} for {diagnosis}."),
    ("hospital admission", "{person} was admitted to {place} General Hospital with {diagnosis} on {date}."),
    ("hospital discharge", "{person} was discharged on {day} after treatment for {diagnosis} in {place}."),
    ("family history", "{person} reports a family history of {diagnosis}, according to Dr. {surname}."),
    ("surgery", "Surgery for {person} is scheduled for {day} at the hospital in {place}."),
    ("missed appointment", "{person} missed the {day} appointment with Dr. {surname} about {diagnosis}."),
    ("emergency visit", "{person} came to the emergency room in {place} with signs of {diagnosis}."),
    ("second opinion", "{person} asked Dr. {surname} for a second opinion on {diagnosis}."),
    ("lab results", "Lab results for {person} arrived on {day} and point to {diagnosis}."),
];

#[rustfmt::skip]
const PRESCRIPTION: Rows = &[
    ("prescription", "{person} was prescribed {drug} {dose} for {diagnosis} on {day}."),
    ("prescription", "Dr. {surname} started {person} on {drug} {dose} to treat {diagnosis}."),
    ("refill", "{person} picked up a refill of {drug} at the {place} pharmacy on {date}."),
    ("refill", "Refill request: {person} needs {drug} {dose} sent to the pharmacy in {place}."),
    ("drug allergy", "{person} of {place} is allergic to {drug} and must not take it."),
    ("side effects", "{person} reported side effects from {drug}, so Dr. {surname} stopped it."),
    ("dose change", "The dose of {drug} for {person} was raised to {dose} on {day}."),
    ("change of medication", "Dr. {surname} switched {person} to {drug} because of worsening {diagnosis}."),
    ("copay", "{person} paid a {fee} copay for {drug} at a pharmacy in {place}."),
    ("missed doses", "{person} forgot to take {drug} for {diagnosis} while visiting {place}."),
    ("prescription transfer", "The {drug} prescription for {person} was moved to a pharmacy in {place}."),
];

#[rustfmt::skip]
const EMPLOYMENT: Rows = &[
    ("new hire", "{person} joined {employer} in {place} as a {role} on {date}."),
    ("promotion", "{employer} promoted {person} to {role} with a salary of {pay} a month."),
    ("pay raise", "{person} received a raise to {pay} a month at {employer}."),
    ("resignation", "{person} resigned from {employer}, and the last day is {date}."),
    ("sick leave", "{person} of {employer} is on sick leave with {diagnosis} until {day}."),
    ("written warning", "{employer} gave {person} a written warning for repeated lateness on {date}."),
    ("bonus", "A bonus of {amount} was paid to {person} by {employer}."),
    ("office transfer", "{person} is moving to the {place} office of {employer} on {date}."),
    ("dismissal", "{employer} dismissed {person} from the {place} office after a complaint by {surname}."),
    ("parental leave", "{person}, a {role} at {employer}, starts parental leave on {date}."),
    ("payroll error", "Payroll at {employer} underpaid {person} by {fee} in {month}."),
    ("job interview", "{person} interviewed for the {role} position at {employer} in {place}."),
];

#[rustfmt::skip]
const FINANCE: Rows = &[
    ("loan", "{person} took out a loan of {amount} at the {place} branch on {day}."),
    ("loan denial", "The bank in {place} denied {person} a loan of {amount}."),
    ("wire transfer", "{person} sent {amount} to {person2} by wire transfer from {place}."),
    ("overdraft", "Account {account} held by {person} was overdrawn by {fee}."),
    ("late payment", "{person} is two payments behind on a loan from the {place} branch."),
    ("fraud alert", "A fraud alert was placed on account {account} after {person} lost a card in {place}."),
    ("credit limit", "{person} asked for a higher credit limit of {amount} on account {account}."),
    ("back taxes", "{person} owes {amount} in back taxes to the city of {place}."),
    ("mortgage payment", "The mortgage payment of {amount} from {person} was due on {day}."),
    ("debt", "{person} paid off a debt of {amount} to {employer} on {day}."),
    ("savings account", "{person} opened a savings account at the {place} branch on {date}."),
    ("direct deposit", "Direct deposit from {employer} for {person} goes to account {account}."),
];

#[rustfmt::skip]
const LEGAL: Rows = &[
    ("child custody", "{person} was granted custody of two children by a {place} court on {date}."),
    ("unpaid wages lawsuit", "{person} is suing {employer} in {place} for {amount} in unpaid wages."),
    ("divorce", "{person} filed for divorce in {place} on {day} with {surname} as counsel."),
    ("arrest", "{person} was arrested in {place} on {day} and charged with fraud."),
    ("settlement", "{employer} settled a discrimination claim by {person} for {amount}."),
    ("speeding fine", "{person} was fined {fee} for speeding near {place} on {day}."),
    ("inheritance", "{person} left {amount} to {person2} in a will signed in {place}."),
    ("bankruptcy", "{person} filed for bankruptcy in {place} under case number {account}."),
    ("testimony", "{person} will testify against {person2} in the {place} court on {date}."),
    ("restraining order", "A judge in {place} granted {person} a restraining order against {person2}."),
    ("probation", "{person} must report to a probation officer in {place} until {date}."),
    ("bail", "Judge {surname} in {place} set bail for {person} at {amount}."),
];

#[rustfmt::skip]
const SUPPORT: Rows = &[
    ("refund", "{person} wants a refund of {fee} for a broken {product}."),
    ("wrong delivery", "The {product} ordered by {person} was delivered to the wrong address in {place}."),
    ("password reset", "{person} cannot log in and asks for a password reset on account {account}."),
    ("double charge", "{person} was charged twice for the same {product} on {date}."),
    ("cancelled subscription", "{person} from {place} cancelled the subscription after a rude call on {date}."),
    ("complaint", "Ticket {account}: {person} complains that the {product} stopped working after a week."),
    ("warranty repair", "{person} in {place} asked for a warranty repair of a {product}."),
    ("escalation", "Ticket {account} from {person} at {employer} was passed on to {surname}."),
    ("address change", "{person} moved to {place} and wants the address on account {account} changed."),
    ("callback", "Please call {person} back on {day} about the missing {product}."),
    ("late delivery", "{person} has waited since {day} for a {product} shipped to {place}."),
    ("data deletion", "{person} asked us to delete all personal data linked to account {account}."),
];

#[rustfmt::skip]
const TRAVEL: Rows = &[
    ("flight booking", "{person} booked a flight from {place} to {place2} on {date}."),
    ("hotel booking", "{person} reserved a hotel room in {place} under booking number {account}."),
    ("cancelled flight", "The {day} flight to {place} was cancelled and {person} was refunded {fee}."),
    ("lost luggage", "{person} lost a suitcase on the train from {place} to {place2}."),
    ("expired passport", "The passport of {person} expires on {day}, before the trip to {place}."),
    ("wheelchair assistance", "{person} needs wheelchair assistance at the {place} airport because of {diagnosis}."),
    ("car rental", "{person} rented a car in {place} for {fee} and returned it late."),
    ("business trip", "{person} of {employer} flies to {place} to meet a client on {date}."),
    ("seat upgrade", "{person} was upgraded to business class on the {day} flight to {place}."),
    ("travel expenses", "{person} claimed {amount} in travel expenses from {employer} for a trip to {place}."),
    ("cruise", "{person} and {person2} are sharing a cabin on the cruise from {place}."),
    ("missed connection", "{person} missed a connection in {place} and spent the night at the airport."),
];

#[rustfmt::skip]
const HOUSING: Rows = &[
    ("unpaid rent", "{person} owes {rent} in rent for the apartment in {place}."),
    ("eviction", "{person} received an eviction notice for the {place} apartment on {date}."),
    ("new lease", "{person} signed a lease in {place} for {rent} a month."),
    ("lease renewal", "{person} and {person2} renewed the lease on their house in {place}."),
    ("repairs", "{person} reported a leaking roof at the {place} house on {date}."),
    ("deposit", "The landlord returned a deposit of {rent} to {person} on {day}."),
    ("noise complaint", "Neighbors in {place} complained about loud parties held by {person}."),
    ("rental application", "{person}, who works at {employer}, applied for an apartment in {place}."),
    ("home sale", "{person} sold the house in {place} to {person2} on {date}."),
    ("moving out", "{person} will move out of the apartment in {place} by {date}."),
    ("pet fee", "{person} pays {fee} more a month in {place} for keeping a dog."),
    ("inspection", "The landlord {surname} will inspect the {place} apartment of {person} on {day}."),
];

#[rustfmt::skip]
const INSURANCE: Rows = &[
    ("car accident", "{person} filed a claim for {amount} after a car accident in {place}."),
    ("denied claim", "The claim of {person} for {diagnosis} treatment was denied on {date}."),
    ("approved claim", "The insurer approved {amount} for the {diagnosis} treatment of {person}."),
    ("cancelled policy", "{person} cancelled insurance policy {account} after moving to {place}."),
    ("higher premium", "The insurance premium of {person} rose by {fee} because of {diagnosis}."),
    ("water damage", "{person} reported {amount} in water damage to a home in {place}."),
    ("life insurance", "{person} named {person2} as beneficiary of life insurance policy {account}."),
    ("disability benefits", "{person}, a former {role} at {employer}, receives disability benefits for {diagnosis}."),
    ("health coverage", "{person} gets health insurance through {employer} from {date}."),
    ("theft", "{person} claims that a {product} was stolen in {place} on {day}."),
    ("prior authorization", "The insurer wants proof of {diagnosis} from {person} before paying for {drug}."),
];

#[rustfmt::skip]
const EDUCATION: Rows = &[
    ("enrollment", "{person} signed up for {course} at {place} College on {date}."),
    ("tuition", "{person} still owes {amount} in tuition for the {course} program."),
    ("scholarship", "{person} won a scholarship of {amount} to study {course} in {place}."),
    ("failed exam", "{person} failed the {course} exam on {day} and may repeat it."),
    ("absence", "{person} missed {course} class because of {diagnosis} on {date}."),
    ("suspension", "{person} was suspended for cheating on the {course} test on {date}."),
    ("exam accommodation", "{person} gets extra time on {course} exams because of {diagnosis}."),
    ("internship", "{person} will do an internship at {employer} in {place} this summer."),
    ("parent meeting", "The parents of {person} will meet teacher {surname} about {course} on {day}."),
    ("recommendation", "Professor {surname} wrote a letter that recommends {person} to {employer}."),
    ("school transfer", "{person} transferred from a school in {place} to one in {place2}."),
    ("tutoring", "{person} gets {course} lessons from {person2} every week in {place}."),
];
