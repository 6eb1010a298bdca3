import { describe, expect, it } from 'vitest';

import type { Offering } from '../../src/lab/api.js';
import { FIRST_CELL, cellFor, cellForOffering, cellsToInsert } from '../../src/lab/cells.js';
import { HOSTILE, deployment } from '../samples.js';

const OFFERING: Offering = {
  rank: 1,
  provider: 'runpod',
  id: 'NVIDIA L4',
  region: null,
  accelerator: 'L4',
  count: 1,
  total_gib: 24,
  usd_per_hour: 0.42,
  usd_per_gib_hour: 0.0175,
  availability: 'high',
  availability_as_of: null,
  launchable: true,
};

/** Every kind of cell; the project's Python tests run these very texts. */
const CELLS: Record<string, string> = {
  'shared server': cellFor(deployment({ id: null, key: 'sidecar:x', provider: 'local' })),
  deployment: cellFor(deployment()),
  'another runtime': cellFor(deployment({ runtime: 'vllm' })),
  'no model yet': cellFor(deployment({ models: {} })),
  offering: cellForOffering(OFFERING),
  'several GPUs': cellForOffering({ ...OFFERING, accelerator: 'H100 SXM', count: 8 }, 'm/one'),
  'a CPU': cellForOffering({ ...OFFERING, accelerator: null }),
  first: FIRST_CELL,
};

describe('ready-made cells', () => {
  it('are the ones that are run by tests', async () => {
    await expect(`${JSON.stringify(CELLS, null, 2)}\n`).toMatchFileSnapshot('../cells.json');
  });

  it.each(HOSTILE)('let no foreign name begin a line or an expression', (text) => {
    const name = `${text}\n!rm -rf ~ $HOME {1+1} \`id\``;
    const cell = cellFor(deployment({ name, models: { [name]: 'ready' } }));

    expect(cell.split(/[\n\r\u2028\u2029]/)).toHaveLength(4);
    expect(cell.split('\n')[0]).not.toMatch(/[$`{}\\]/);
  });

  it.each([
    ['no cell', [], true],
    ['one that loads it', ['import pandas\n%load_ext conduit_nb  # for %%conduit'], false],
    ['one that only speaks of it', ['# first: %load_ext conduit_nb'], true],
    ['one that loads another', ['%load_ext conduit_nbx'], true],
  ])('come after what loads Conduit in a notebook with %s', (_, code, isLoadedFirst) => {
    const text = cellFor(deployment());

    expect(cellsToInsert(text, code)).toEqual(
      isLoadedFirst ? ['%load_ext conduit_nb', text] : [text],
    );
    expect(cellsToInsert(FIRST_CELL, code)).toEqual([FIRST_CELL]);
  });
});
