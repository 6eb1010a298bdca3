/** The MIME renderer: a reopened notebook shows our documents without a kernel. */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Widget } from '@lumino/widgets';

import { element, show } from '../shared/dom.js';
import { RECEIPT_TYPE, TABLE_TYPE, recordView } from './records.js';

class Renderer extends Widget implements IRenderMime.IRenderer {
  constructor(private readonly mimeType: string) {
    super();
    this.addClass('jp-Conduit-output');
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const data: unknown = model.data[this.mimeType];
    const text: unknown = model.data['text/plain'];
    const line = typeof text === 'string' ? text : '';
    const fallback = element('pre', {}, line || 'It cannot be shown.');
    show(this.node, recordView(this.mimeType, data, line) ?? fallback);
    return Promise.resolve();
  }
}

const factory: IRenderMime.IRendererFactory = {
  safe: true,
  mimeTypes: [TABLE_TYPE, RECEIPT_TYPE],
  createRenderer: (options) => new Renderer(options.mimeType),
};

const extension: IRenderMime.IExtension = {
  id: 'conduit-nb:records',
  description: "Shows Conduit's tables and receipts.",
  rendererFactory: factory,
  rank: 10, // before the HTML (50) and the text of the same output
  dataType: 'json',
};

export default extension;
