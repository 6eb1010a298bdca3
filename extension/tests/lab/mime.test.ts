import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { describe, expect, it } from 'vitest';

import extension from '../../src/lab/mime.js';
import { TABLE_TYPE } from '../../src/lab/records.js';

async function rendered(data: Record<string, unknown>): Promise<HTMLElement> {
  const one = Array.isArray(extension) ? undefined : extension;
  const options = { mimeType: TABLE_TYPE } as unknown as IRenderMime.IRendererOptions;
  const renderer = one?.rendererFactory.createRenderer(options);
  await renderer?.renderModel({ data } as unknown as IRenderMime.IMimeModel);
  return renderer?.node ?? document.createElement('p');
}

describe('the MIME renderer', () => {
  it('draws our documents', async () => {
    const node = await rendered({ [TABLE_TYPE]: { columns: ['a'], rows: [['1']] } });

    expect(node.querySelector('td')?.textContent).toBe('1');
  });

  it('shows the text of what it does not understand', async () => {
    const node = await rendered({ [TABLE_TYPE]: 7, 'text/plain': '<b>seven</b>' });

    expect(node.querySelector('pre')?.textContent).toBe('<b>seven</b>');
    expect(node.querySelector('b')).toBeNull();
  });
});
