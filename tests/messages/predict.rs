//! What is wrong with `predict`.

use crate::files::{Files, GOOD, compare};
use crate::support::world::CONFIG;

#[test]
fn jobs_that_cannot_predict_are_told_why() {
    let mut text = String::new();
    for job in [
        &format!("{GOOD}predict = 1\n"),
        &format!("{GOOD}predict = true\npredict_top = 0\n"),
        &format!("{GOOD}predict_top = 5\n"),
        &format!("{GOOD}predict = false\npredict_top = 5\n"),
        "query = 'SELECT id FROM thing ORDER BY id LIMIT 5'\nkey = 't:{id}'\nvalue = 'row'\npredict = true\n",
        "query = 'SELECT id FROM thing'\nkey = 't:all'\nvalue = 'rows'\npredict = true\n",
        "fill_query = 'SELECT id FROM thing WHERE id = :id'\nkey = 't:{id}'\nvalue = 'row'\npredict = true\n",
    ] {
        let files = Files::new();
        files.write("jobs/job.toml", job);
        text += &format!("━━━\n{}\n", files.warm(&["check", "--offline"]).all());
    }
    for learn in ["keys = 9", "half_life = '31d'", "key = 1"] {
        let files = Files::new();
        files.write("jobs/job.toml", GOOD);
        files.write("warm.toml", format!("{CONFIG}[learn]\n{learn}\n"));
        text += &format!("━━━\n{}\n", files.warm(&["check", "--offline"]).all());
    }
    compare("predict", &text);
}
