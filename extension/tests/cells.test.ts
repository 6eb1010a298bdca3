import { describe, expect, it } from 'vitest';

import type { Offering } from '../src/api.js';
import { FIRST_CELL, cellFor, cellForOffering } from '../src/cells.js';
import { HOSTILE, deployment } from './samples.js';

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

describe('ready-made cells', () => {
  it('ask the model of a deployment where it runs', () => {
    expect(cellFor(deployment()).split('\n')[0]).toBe(
      '%%conduit block ask --model HuggingFaceTB/SmolLM2-135M-Instruct --provider runpod',
    );
    expect(cellFor(deployment({ runtime: 'vllm' }))).toContain(' --runtime vllm');
  });

  it('need no word of where the sidecar is', () => {
    const cell = cellFor(deployment({ id: null, key: 'sidecar:x', provider: 'local' }));

    expect(cell.split('\n')[0]).toBe(
      '%%conduit block ask --model HuggingFaceTB/SmolLM2-135M-Instruct',
    );
  });

  it('rent an offering', () => {
    expect(cellForOffering(OFFERING)).toBe('%conduit deploy MODEL_ID --provider runpod --gpu L4');
    expect(cellForOffering({ ...OFFERING, accelerator: 'H100 SXM', count: 8 })).toContain(
      '--gpu "H100 SXM" --gpu-count 8',
    );
    expect(cellForOffering({ ...OFFERING, accelerator: null })).not.toContain('--gpu');
  });

  it.each(HOSTILE)('let no foreign name begin a line or an expression', (text) => {
    const name = `${text}\n!rm -rf ~ $HOME {1+1} \`id\``;
    const cell = cellFor(deployment({ models: { [name]: 'ready' } }));

    expect(cell.split(/[\n\r\u2028\u2029]/)).toHaveLength(6);
    expect(cell.split('\n')[0]).not.toMatch(/[$`{}\\]/);
  });

  it('begin with what loads Conduit', () => {
    expect(FIRST_CELL).toContain('%load_ext conduit_nb');
  });
});
