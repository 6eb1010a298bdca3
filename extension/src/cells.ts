/** Ready-made cells: what a deployment or an offering is used with in a notebook. */

import type { Deployment, Offering } from './api.js';

/** A cell that asks the models of a deployment; the sidecar's need no word of where they run. */
export function cellFor(deployment: Deployment): string {
  const model = Object.keys(deployment.models)[0];
  if (model === undefined) {
    return `%conduit logs ${quoted(deployment.name)}`;
  }
  const runtime = deployment.runtime === 'lmlite' ? '' : ` --runtime ${quoted(deployment.runtime)}`;
  const provider = deployment.id === null ? '' : ` --provider ${quoted(deployment.provider)}`;
  return [
    `%%conduit block ask --model ${quoted(model)}${runtime}${provider}`,
    'class Question:',
    '    text: str',
    '',
    'class Answer:',
    '    text: str',
  ].join('\n');
}

/** The line that rents an offering for a model. */
export function cellForOffering(offering: Offering, model = 'MODEL_ID'): string {
  const gpu = offering.accelerator ? ` --gpu ${quoted(offering.accelerator)}` : '';
  const several =
    offering.accelerator && offering.count > 1 ? ` --gpu-count ${offering.count}` : '';
  return `%conduit deploy ${quoted(model)} --provider ${quoted(offering.provider)}${gpu}${several}`;
}

/** The quickest beginning: load the magics, and see what there is. */
export const FIRST_CELL = '%load_ext conduit_nb\n%conduit help';

/** Writes a value so that a magic's line takes it as one word; nothing in it begins a new line. */
function quoted(value: string): string {
  const line = value.replace(/[\u0000-\u001f\u007f\u2028\u2029]/g, ' ');
  return /^[\w./:@+-]+$/.test(line) ? line : `"${line.replace(/["\\$`{}]/g, '')}"`;
}
