//! Merging contacts.

use super::client::contact;
use super::history::CodeRequest;
use super::reference::Model;
use super::run::{Check, Run, same};

impl Model {
    /// The contact that stands for this one.
    pub fn person(&self, contact: u8) -> u8 {
        self.merged.get(&contact).copied().unwrap_or(contact)
    }

    /// Returns the contact that stands for both, or the problem.
    fn merge(&mut self, contact: u8, into: u8) -> Result<u8, &'static str> {
        let root = self.person(into);
        if contact == into {
            return Err("422 validation-failed");
        }
        if contact == root || ![contact, root].contains(&self.person(contact)) {
            return Err("409 contact-merged");
        }
        self.merged.insert(contact, root);
        for one in self.merged.values_mut() {
            if *one == contact {
                *one = root;
            }
        }
        for assignment in &mut self.assignments {
            if assignment.contact == contact {
                assignment.contact = root;
            }
        }
        Ok(root)
    }
}

impl Run<'_> {
    /// The request with the contact that stands for its contact.
    pub fn as_person(&self, request: CodeRequest) -> CodeRequest {
        CodeRequest {
            contact: self.model.person(request.contact),
            ..request
        }
    }

    pub async fn merge(&mut self, one: u8, into: u8) -> Check {
        let answer = self.player.shop.merge(contact(one), contact(into)).await;
        let seen = if answer.status == 200 {
            Ok(answer.str("mergedInto").to_owned())
        } else {
            Err(answer.refusal())
        };
        let expected = self.model.merge(one, into);
        let expected = expected
            .map(|root| contact(root).to_owned())
            .map_err(str::to_owned);
        same("the merge", seen, expected)
    }
}
