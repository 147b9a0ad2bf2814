//! `polis explain CODE`: what an error means and what to do next.

use std::io::Write;

use anyhow::bail;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A code, such as PLS0042
    #[arg(required_unless_present = "list")]
    code: Option<String>,
    /// List every code
    #[arg(long)]
    list: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.list {
        for entry in errors::all() {
            writeln!(out, "{}  {}", entry.code, entry.title)?;
        }
        return Ok(());
    }
    let code = args.code.as_deref().unwrap_or_default();
    let Some(entry) = errors::find(code) else {
        let unknown = errors::CODE_UNKNOWN;
        bail!("{unknown}: {code:?} is no error code. {}", unknown.remedy());
    };
    let errors::Entry { code, title, cause, remedy } = entry;
    writeln!(out, "{code}: {title}\n\n{cause}\n\nWhat to do: {remedy}")?;
    Ok(())
}
