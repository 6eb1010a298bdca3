/** The live table of `%conduit offerings`: what the kernel tells is shown, what is pressed is told. */

import { clock, element, fill, panelRoot, problemLine, watchKernel } from './elements.js';
import { offeringsView } from './offerings_view.js';

/** @param {{ model: import('./elements.js').Model, el: HTMLElement }} given */
function render({ model, el }) {
  const root = panelRoot(el, 'Offerings');
  const connection = element('p', { class: 'conduit-connection', role: 'status' });
  const said = element('div');
  const place = element('div');
  root.append(connection, place, said);
  const view = offeringsView(place, {
    deploy: (key) => model.send({ kind: 'deploy', key }),
    refresh: () => model.send({ kind: 'refresh' }),
  });
  const kernel = watchKernel(model, (isAlive) => {
    view.setAlive(isAlive);
    connection.hidden = isAlive;
    connection.textContent = `Disconnected, last seen ${clock(model.get('seen_at'))}. Prices are of then.`;
  });
  const heard = (/** @type {any} */ message) => {
    if (message.kind === 'table') {
      view.show(message);
    } else if (message.kind === 'problem') {
      fill(said, problemLine(message));
    } else if (message.kind === 'action') {
      fill(said, element('p', { role: 'status' }, message.text));
    }
  };
  model.on('msg:custom', heard);
  model.send({ kind: 'here' });
  return () => {
    kernel.end();
    model.off('msg:custom', heard);
  };
}

export default { render };
