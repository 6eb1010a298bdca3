/** How amounts, times and counts are said. */

/** Says US dollars: "$0.42", or four digits where two would say nothing. */
export function usd(amount: number): string {
  const digits = amount !== 0 && Math.abs(amount) < 0.1 ? 4 : 2;
  return `$${amount.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

/** Says how many: "1 node", "2 nodes". */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** Says how long, roughly: "8 s", "12 min", "3.5 h". */
export function span(seconds: number): string {
  const whole = Math.max(seconds, 0);
  if (whole < 90) {
    return `${Math.round(whole)} s`;
  }
  return whole < 90 * 60 ? `${Math.round(whole / 60)} min` : `${(whole / 3600).toFixed(1)} h`;
}

/** Says a moment of the day, as the reader's clock shows it. */
export function clock(moment: number): string {
  return new Date(moment).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

/** The longest piece of foreign text that is put on a screen at once. */
const LONGEST = 2000;

/** Cuts foreign text, and takes from it what would change how other text is read. */
export function plain(text: string, longest = LONGEST): string {
  // A line of megabytes is cut first: no expression then runs over all of it.
  const cut = text.length > longest ? `${text.slice(0, longest - 1)}…` : text;
  return cut
    .replace(/\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?)/g, '')
    .replace(
      /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
      '�',
    );
}
