/** Text of others, made safe to show: what it holds is seen, not obeyed. */

/** The longest piece of foreign text that is put on a screen at once. */
const LONGEST = 2000;

/**
 * Control characters (but for line ends and tabs), halves of characters, and the marks that make
 * text read otherwise than it is written; `conduit_nb/plain_text.py` has the same.
 */
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** Cuts foreign text, and shows what would change how other text is read as a replacement mark. */
export function plain(text: string, longest = LONGEST): string {
  // A line of megabytes is cut first: the expression then does not run over all of it.
  const cut = text.length > longest ? `${text.slice(0, longest - 1)}…` : text;
  return cut.replace(UNSEEN, '\ufffd');
}
