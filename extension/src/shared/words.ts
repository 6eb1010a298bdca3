/** How amounts, times and counts are written. */

/** Writes US dollars as `conduit_nb/units.py` does: "$0.42", "$0.0042", "$1,234.50". */
export function usd(amount: number): string {
  const size = Math.abs(amount);
  const sign = amount < 0 ? '-' : '';
  return size > 0 && size < 0.00005 ? `${sign}<$0.0001` : `${sign}$${digits(size)}`;
}

/** Writes a number of dollars for a column whose head says "$": two digits, four below 10 cents. */
export function digits(amount: number): string {
  const fixed = amount.toFixed(amount > 0 && amount < 0.09995 ? 4 : 2);
  return fixed.replace(/\B(?=(\d{3})+\.)/g, ',');
}

/** Writes how many: "1 node", "2 nodes". */
export function count(number: number, noun: string): string {
  return `${number.toLocaleString('en-US')} ${noun}${number === 1 ? '' : 's'}`;
}

/** Writes how long, roughly: "8 s", "12 min", "3.5 h", "3 days". */
export function span(seconds: number): string {
  const whole = Math.max(seconds, 0);
  if (whole < 90) {
    return `${Math.round(whole)} s`;
  }
  if (whole < 90 * 60) {
    return `${Math.round(whole / 60)} min`;
  }
  return whole < 48 * 3600
    ? `${(whole / 3600).toFixed(1)} h`
    : `${Math.round(whole / 86_400)} days`;
}

/** Writes a moment (milliseconds, or ISO 8601) as the reader's clock shows it. */
export function clock(moment: number | string): string {
  const read = new Date(moment);
  return Number.isNaN(read.valueOf())
    ? 'never'
    : read.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}
