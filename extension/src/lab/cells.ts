/** Ready-made cells: what a deployment or an offering is used with in a notebook. */

import type { Deployment } from '../shared/wire.js';
import type { Offering } from './api.js';

/** What takes the place of a model that nobody has named; it is small, and at hand. */
const SOME_MODEL = 'HuggingFaceTB/SmolLM2-135M-Instruct';

/**
 * A cell that runs as it is and asks the model of a deployment about two rows of its own, by the
 * deployment's name; the shared server's need no word of where they run.
 */
export function cellFor(deployment: Deployment): string {
  const model = Object.keys(deployment.models)[0];
  if (model === undefined) {
    return `%conduit logs ${quoted(deployment.name)}`;
  }
  const where = deployment.id === null ? '' : ` --on ${quoted(deployment.name)}`;
  return [
    `%%conduit map ["It broke on day two.", "I love it."] -o moods${where} --model ${quoted(model)}`,
    'class Mood:',
    '    """Say how the customer feels about the product."""',
    '    mood: Literal["good", "bad"]',
  ].join('\n');
}

/** The line that rents an offering for a model. */
export function cellForOffering(offering: Offering, model = SOME_MODEL): string {
  const gpu = offering.accelerator ? ` --gpu ${quoted(offering.accelerator)}` : '';
  const several =
    offering.accelerator && offering.count > 1 ? ` --gpu-count ${offering.count}` : '';
  return `%conduit deploy ${quoted(model)} --provider ${quoted(offering.provider)}${gpu}${several}`;
}

const LOAD = '%load_ext conduit_nb';

/** The quickest beginning: load the magics, and see what there is. */
export const FIRST_CELL = `${LOAD}\n%conduit help`;

/** The cells to insert for a text; one that loads Conduit is the first where no code cell does. */
export function cellsToInsert(text: string, codeCells: readonly string[]): string[] {
  const loads = (source: string): boolean => /^\s*%load_ext\s+conduit_nb\b/m.test(source);
  return [text, ...codeCells].some(loads) ? [text] : [LOAD, text];
}

/** Writes a value so that a magic's line takes it as one word; nothing in it begins a new line. */
function quoted(value: string): string {
  const line = value.replace(/[\u0000-\u001f\u007f\u2028\u2029]/g, ' ');
  return /^[\w./:@+-]+$/.test(line) ? line : `"${line.replace(/["\\$`{}]/g, '')}"`;
}
