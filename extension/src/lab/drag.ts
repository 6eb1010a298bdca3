/** Dragging a ready-made cell out of the sidebar into a notebook. */

import { MimeData } from '@lumino/coreutils';
import { Drag } from '@lumino/dragdrop';

const CELLS = 'application/vnd.jupyter.cells'; // what a notebook takes when it is dropped on it
const FAR_PX = 5;

/** Begins a drag when the mouse is pressed on something that has a cell, and moves away. */
export function beginDrag(
  root: HTMLElement,
  cellOf: (target: EventTarget | null) => string | null,
): void {
  root.addEventListener('mousedown', (down) => {
    const isButton = down.target instanceof Element && down.target.closest('button, pre');
    const cell = cellOf(down.target);
    if (down.button !== 0 || isButton || cell === null) {
      return;
    }
    const moved = (move: MouseEvent): void => {
      if (Math.hypot(move.clientX - down.clientX, move.clientY - down.clientY) > FAR_PX) {
        end();
        startDrag(cell, move);
      }
    };
    const end = (): void => {
      document.removeEventListener('mousemove', moved, true);
      document.removeEventListener('mouseup', end, true);
    };
    document.addEventListener('mousemove', moved, true);
    document.addEventListener('mouseup', end, true);
    down.preventDefault();
  });
}

function startDrag(cell: string, event: MouseEvent): void {
  const mimeData = new MimeData();
  mimeData.setData(CELLS, [
    { cell_type: 'code', source: cell, metadata: {}, outputs: [], execution_count: null },
  ]);
  mimeData.setData('text/plain', cell);
  const image = document.createElement('div');
  image.className = 'jp-Conduit-dragged';
  image.textContent = cell.split('\n')[0] ?? '';
  const drag = new Drag({
    mimeData,
    dragImage: image,
    proposedAction: 'copy',
    supportedActions: 'copy',
    source: null,
  });
  void drag.start(event.clientX, event.clientY).then(() => drag.dispose());
}
